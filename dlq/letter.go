package dlq

import (
	"maps"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// NoPosition is the value of [Source.Partition] and [Source.Offset] where the
// broker has no such thing.
const NoPosition = -1

// Reason says in one word why a message became a letter. Reasons from brokers
// ("expired", "rejected", "maxlen", "delivery_limit") and from the Python
// library ("republish_failed") appear as they came.
type Reason string

// The reasons that leat itself gives.
const (
	ReasonMaxRetries    Reason = "max_retries_exceeded"    // every allowed attempt failed
	ReasonPermanent     Reason = "permanent_error"         // the handler said that trying again is useless
	ReasonUndecodable   Reason = "deserialization_error"   // the message itself cannot be read
	ReasonDeliveryLimit Reason = "delivery_limit_exceeded" // delivered too often, for instance because it kills its process
	ReasonPanic         Reason = "panic"                   // the handler panicked and nothing retried it
	ReasonTimeout       Reason = "timeout"                 // the handler ran out of time and nothing retried it
	ReasonHandlerError  Reason = "handler_error"           // the handler failed and nothing retried it
)

// Source tells where a message came from, as far as its broker can say. Topic
// is the name to publish to for a replay. The zero Source claims partition 0,
// offset 0; use [NewLetter] or set both to [NoPosition].
type Source struct {
	Topic     string // stream, topic or queue
	Partition int32  // NoPosition: none
	Offset    int64  // NoPosition: none
	ID        string // entry id, delivery tag or whatever the broker calls it; may be empty
}

// Letter is one dead message: the original, untouched, and what is known about
// its failure. It is a plain value; a letter that a [Store] hands out is the
// caller's to change, and a store keeps nothing of a letter that it was given.
type Letter struct {
	// ID is the store's name for the letter; empty before the burial.
	ID string

	// The original message. MessageID is its UUID, for an event the event id.
	// Key is the ordering key, for an event the aggregate id. Metadata has no key
	// that starts with Prefix.
	MessageID string
	Key       string
	Payload   []byte
	Metadata  map[string]string

	// Handlers are the names of those that failed and that a replay runs again;
	// empty when the message itself is the trouble, or nobody knows. A replay
	// that reached no handler leaves a letter for the same ones.
	Handlers []string

	// Reason, ErrorType (a Go type, or whatever the burying side calls it) and
	// ErrorMessage (cut at MaxErrorMessage characters on the wire) tell why.
	Reason       Reason
	ErrorType    string
	ErrorMessage string

	// Attempts counts all runs of the handler that ran most often, the first
	// included; 0 when it never ran. Times are UTC with microseconds on the wire.
	Attempts      int
	FirstFailedAt time.Time
	LastFailedAt  time.Time
	BuriedAt      time.Time

	// Group is the consumer group whose handling failed, Source where the message
	// came from, Host and Build the machine and the revision that gave up.
	Group  string
	Source Source
	Host   string
	Build  string

	// Replays counts how often the message has come out of a dead letter queue.
	Replays int
}

// NewLetter begins a letter from a message that was consumed: UUID, payload,
// metadata without the keys that start with [Prefix], aggregate id as key, and
// how often it has been replayed. The payload is shared with the message; the
// metadata is a copy. The caller fills in the rest.
func NewLetter(m *message.Message) Letter {
	l := Letter{
		MessageID: m.UUID,
		Key:       m.Metadata[wire.AggregateID],
		Payload:   m.Payload,
		Metadata:  original(m.Metadata),
		Source:    Source{Partition: NoPosition, Offset: NoPosition},
	}
	if t, ok := ReplayTarget(m); ok {
		l.Replays = t.Replays
	}
	if k := m.Metadata[KeyKey]; k != "" {
		l.Key = k
	}
	return l
}

// EventType returns the event type that the original message carries in its
// metadata; empty when it has none.
func (l *Letter) EventType() string { return l.Metadata[wire.EventType] }

// Clone returns a copy that shares no memory with l.
func (l *Letter) Clone() Letter {
	c := *l
	c.Payload = slices.Clone(l.Payload)
	c.Metadata = maps.Clone(l.Metadata)
	c.Handlers = slices.Clone(l.Handlers)
	return c
}

// size is roughly the memory that a letter holds, in bytes.
func (l *Letter) size() int {
	n := len(l.Payload) + len(l.MessageID) + len(l.Key) + len(l.ErrorMessage) + len(l.ErrorType) + 512
	for k, v := range l.Metadata {
		n += len(k) + len(v) + 32
	}
	for _, h := range l.Handlers {
		n += len(h) + 16
	}
	return n
}
