// Package wire holds the names that leat writes on the wire: the metadata keys
// of an event's message. Each is listed once, here, and is never reused for a
// new meaning; design and golden files depend on every byte of them.
package wire

import (
	"cmp"
	"strings"
)

// Metadata keys of an event, in the order in which ordered formats (Redis text
// form, Kafka headers) carry them. The optional ones are left out when empty.
const (
	EventID          = "event_id"
	EventType        = "event_type"
	EventVersion     = "event_version"
	AggregateID      = "aggregate_id"
	AggregateType    = "aggregate_type"
	AggregateVersion = "aggregate_version"
	OccurredAt       = "occurred_at"
	CorrelationID    = "correlation_id"
	CausationID      = "causation_id"
	TenantID         = "tenant_id"
	ActorID          = "actor_id"
)

// Trace context, as the W3C names it, and Watermill's own key for a message's
// UUID in formats that have no better place for it.
const (
	TraceParent   = "traceparent"
	TraceState    = "tracestate"
	Baggage       = "baggage"
	WatermillUUID = "_watermill_message_uuid"
)

// Keys of a letter that decide how a replayed message is handled: by which
// consumer group, by which of its handlers, and how often it was replayed. The
// other dlq_ keys belong to package dlq alone.
const (
	ReplayCount    = "dlq_replay_count"
	ReplayGroup    = "dlq_consumer_group"
	ReplayHandlers = "dlq_handlers"
)

// Compare orders metadata keys as ordered formats write them: those of an event
// and its message first, as they are listed above, then all others, sorted.
func Compare(a, b string) int {
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
}

func rank(key string) int {
	switch key {
	case EventID:
		return 0
	case EventType:
		return 1
	case EventVersion:
		return 2
	case AggregateID:
		return 3
	case AggregateType:
		return 4
	case AggregateVersion:
		return 5
	case OccurredAt:
		return 6
	case CorrelationID:
		return 7
	case CausationID:
		return 8
	case TenantID:
		return 9
	case ActorID:
		return 10
	case TraceParent:
		return 11
	case TraceState:
		return 12
	case Baggage:
		return 13
	case WatermillUUID:
		return 14
	default:
		return 15
	}
}

// OccurredAtLayout is the form of occurred_at in headers: UTC with microseconds
// and a numeric offset, as the Python library writes it.
const OccurredAtLayout = "2006-01-02T15:04:05.000000+00:00"
