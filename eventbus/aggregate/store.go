package aggregate

import (
	"context"
	"fmt"
	"iter"

	"github.com/leat-go/leat/eventbus"
)

// Stream names the events of one aggregate.
type Stream struct {
	Type string // the kind of aggregate, as in eventbus.AggregateType
	ID   string // of the aggregate
}

// String returns both parts, for messages to people.
func (s Stream) String() string { return fmt.Sprintf("%s %q", s.Type, s.ID) }

// Store keeps the events of aggregates, and knows which are published. All
// methods may be called from many goroutines. Events have their base filled
// in: EventID is unique, AggregateVersion is the position in the stream. A
// store that writes bytes takes the type's name from eventbus.Registry.NameOf.
type Store interface {
	// Append adds the events, all or none, to the stream whose last version is
	// expected (0: there is none yet), and notes in the same step that they are
	// not published. Another last version is a *ConflictError. Of two calls
	// with the same expected version at most one succeeds.
	Append(ctx context.Context, s Stream, expected int64, events []eventbus.Event) error

	// Load yields the events of the stream by version; none when there is no
	// such stream. An error ends it.
	Load(ctx context.Context, s Stream) iter.Seq2[eventbus.Event, error]

	// Pending yields the events that are noted as not published, those that
	// are when it begins, of the stream or, with an empty ID, of all streams of
	// the type; those of one stream by version. An error ends it. The
	// loop may call MarkPublished.
	Pending(ctx context.Context, s Stream) iter.Seq2[eventbus.Event, error]

	// MarkPublished takes the note away. Events that have none are no error.
	MarkPublished(ctx context.Context, s Stream, events []eventbus.Event) error
}
