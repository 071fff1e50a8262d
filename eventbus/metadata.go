package eventbus

import "github.com/leat-go/leat/internal/wire"

// Metadata keys of an event's message, for middleware: what a
// message.HandlerMiddleware finds in msg.Metadata. They are the wire's, and do
// not change. The optional ones are absent when the event has no value.
const (
	KeyEventID          = wire.EventID
	KeyEventType        = wire.EventType
	KeyEventVersion     = wire.EventVersion     // decimal
	KeyAggregateID      = wire.AggregateID      // the ordering key
	KeyAggregateType    = wire.AggregateType    // optional
	KeyAggregateVersion = wire.AggregateVersion // decimal
	KeyOccurredAt       = wire.OccurredAt       // RFC 3339 with offset +00:00
	KeyCorrelationID    = wire.CorrelationID    // optional
	KeyCausationID      = wire.CausationID      // optional
	KeyTenantID         = wire.TenantID         // optional
	KeyActorID          = wire.ActorID          // optional
)
