package eventbus

import (
	"time"

	"github.com/google/uuid"
)

// Base is what every event carries: its identity, the aggregate it belongs to,
// and where it comes from. An event type embeds it as its first field:
//
//	type OrderCreated struct {
//		eventbus.Base
//		CustomerID string `json:"customer_id"`
//	}
//
// Make it with [NewBase], which fills what can be filled. The empty string
// means "absent" in all text fields, and is null on the wire. The JSON names
// and their order are the wire's, see package codec.
type Base struct {
	// EventID is unique, a UUID of version 7 when NewBase makes it. Publish
	// refuses an event without one.
	EventID string `json:"event_id"`
	// EventType is the wire name of the registry. Leave it empty: Publish
	// fills it, and received events carry it, an alias already resolved.
	EventType string `json:"event_type"`
	// EventVersion is the version of the type's schema; 0 means the version
	// that the type is registered with.
	EventVersion int `json:"event_version"`
	// OccurredAt is when it happened; microseconds travel, in UTC. Publish
	// refuses the zero time.
	OccurredAt time.Time `json:"occurred_at"`
	// AggregateID names the aggregate, and is the event's ordering key. Publish
	// refuses an empty one.
	AggregateID string `json:"aggregate_id"`
	// AggregateType is the kind of the aggregate; empty means the one that
	// the type is registered with.
	AggregateType string `json:"aggregate_type"`
	// AggregateVersion is the aggregate's version after this event, 1 for
	// its first; 0 is written as 1.
	AggregateVersion int64 `json:"aggregate_version"`
	// TenantID and ActorID say for whom and by whom; optional.
	TenantID string `json:"tenant_id"`
	ActorID  string `json:"actor_id"`
	// CorrelationID is shared by all events of one story; NewBase begins a
	// story with the event's own id. CausationID is the id of the event that
	// caused this one. See [Base.CausedBy].
	CorrelationID string `json:"correlation_id"`
	CausationID   string `json:"causation_id"`
	// Metadata is free. Its values are what JSON can hold; numbers arrive as
	// json.Number. Large or secret things do not belong here.
	Metadata map[string]any `json:"metadata"`
}

// NewBase returns the base of a new event of the given aggregate: a fresh id,
// the present time in UTC at the wire's precision (microseconds), aggregate
// version 1, and a correlation id that begins a new story. Type, version and
// aggregate type come from the registry when the event is published.
func NewBase(aggregateID string) Base {
	id := NewID()
	return Base{
		EventID:          id,
		OccurredAt:       time.Now().UTC().Truncate(time.Microsecond),
		AggregateID:      aggregateID,
		AggregateVersion: 1,
		CorrelationID:    id,
	}
}

// CausedBy returns a copy of b that continues the story of parent: its
// correlation id is the parent's (the parent's event id when it has none), its
// causation id is the parent's event id.
func (b Base) CausedBy(parent Event) Base {
	p := parent.EventBase()
	b.CorrelationID = p.CorrelationID
	if b.CorrelationID == "" {
		b.CorrelationID = p.EventID
	}
	b.CausationID = p.EventID
	return b
}

// EventBase returns b itself; it makes a pointer to any struct that embeds
// Base an [Event].
func (b *Base) EventBase() *Base { return b }

// Event is what a bus carries: a pointer to a struct that embeds [Base].
// Events are facts: nobody changes one after it was published, and a handler
// that gets an Event reads it only, since other handlers may be reading it too.
type Event interface {
	// EventBase returns the event's base, never nil; not a copy.
	EventBase() *Base
}

// NewID returns a new UUID of version 7 as text: unique, and sorted by time of
// making.
func NewID() string {
	id, err := uuid.NewV7()
	if err != nil { // the system has no randomness; version 4 fails the same way
		return uuid.NewString()
	}
	return id.String()
}
