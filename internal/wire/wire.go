// Package wire holds the names that leat writes on the wire: the metadata keys
// of an event's message. Each is listed once, here, and is never reused for a
// new meaning; design and golden files depend on every byte of them.
package wire

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

// Order returns the metadata keys in the order in which ordered formats write
// them; keys not in it follow, sorted. The caller must not modify the slice's
// backing array: each call returns a fresh one.
func Order() []string {
	return []string{
		EventID, EventType, EventVersion, AggregateID, AggregateType, AggregateVersion, OccurredAt,
		CorrelationID, CausationID, TenantID, ActorID, TraceParent, TraceState, Baggage,
	}
}

// OccurredAtLayout is the form of occurred_at in headers: UTC with microseconds
// and a numeric offset, as the Python library writes it.
const OccurredAtLayout = "2006-01-02T15:04:05.000000+00:00"
