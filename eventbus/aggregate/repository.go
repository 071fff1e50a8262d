package aggregate

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-go/leat/eventbus"
)

// Publisher is what a repository publishes through: any bus is one. Publish
// returns nil when all the events are published, in the order given. From an
// error that is an *eventbus.PublishError the repository learns which of them
// are; any other error means that none is known to be.
type Publisher interface {
	// Publish returns nil when every event is published.
	Publish(ctx context.Context, events ...eventbus.Event) error
}

// checker is a Publisher that can tell beforehand what it would refuse, as any
// bus can: an event that can never be published must not be stored.
type checker interface {
	Check(events ...eventbus.Event) error
}

// Config makes a [Repository]; every field is required.
type Config[A Aggregate] struct {
	// Type is the kind of aggregate: the AggregateType of its events.
	Type string
	// New returns an empty aggregate: func() *Order { return &Order{} }.
	New func() A
	// Store keeps the events. It may be shared by repositories of other types.
	Store Store
	// Publisher gets the events that were stored.
	Publisher Publisher
}

// Validate reports every problem of the config at once.
func (c Config[A]) Validate() error {
	var errs []error
	for _, f := range [...]struct {
		name    string
		missing bool
	}{{"Type", c.Type == ""}, {"New", c.New == nil}, {"Store", c.Store == nil}, {"Publisher", c.Publisher == nil}} {
		if f.missing {
			errs = append(errs, fmt.Errorf("aggregate: Config.%s: must not be empty", f.name))
		}
	}
	return errors.Join(errs...)
}

// Repository loads and saves aggregates of one type. Its methods may be called
// from many goroutines and from handlers of the bus. A program has one for
// each type: PublishPending does not know what another Repository of the same
// type is publishing at this moment.
type Repository[A Aggregate] struct {
	cfg    Config[A]
	flight flight
}

// NewRepository returns a repository. It does no I/O.
func NewRepository[A Aggregate](c Config[A]) (*Repository[A], error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Repository[A]{cfg: c, flight: flight{ids: map[string]bool{}}}, nil
}

// New returns an aggregate of that id that does not exist yet: without events,
// at version 0. Saving it fails with a [*ConflictError] when it does exist.
func (r *Repository[A]) New(id string) A {
	a := r.cfg.New()
	a.root().id = id
	return a
}

// Load returns the aggregate in the state that its events make. The error is a
// [*NotFoundError] when there are none, wraps [ErrBrokenHistory] when they do
// not fit together, and is the store's otherwise.
func (r *Repository[A]) Load(ctx context.Context, id string) (A, error) {
	var none A
	a, s := r.New(id), Stream{Type: r.cfg.Type, ID: id}
	for e, err := range r.cfg.Store.Load(ctx, s) {
		if err == nil {
			err = replay(a, e)
		}
		if err != nil {
			return none, fmt.Errorf("aggregate: load %s: %w", s, err)
		}
	}
	if a.root().version == 0 {
		return none, &NotFoundError{Stream: s}
	}
	return a, nil
}

// Save stores the events that were raised on a since it was made, loaded or
// saved, and publishes them; see the package documentation. Without such
// events it does nothing. It blocks as long as store and publisher do: with
// the in-memory bus until every handler has run.
//
// The errors: a [*ConflictError] or an [*InvalidError], nothing happened; an [*UnpublishedError],
// stored, so a is saved; ErrNoIdentity; any other is the store's, and it is not
// known whether the events are stored: load the aggregate again.
//
// The events become one story: they have the correlation of the event given to
// [WithCause], and it as cause; without it the first event begins the story.
func (r *Repository[A]) Save(ctx context.Context, a A) error {
	root := a.root()
	events := root.raised
	if root.id == "" {
		return ErrNoIdentity
	}
	if len(events) == 0 {
		return nil
	}
	s := Stream{Type: r.cfg.Type, ID: root.id}
	tellStory(ctx, s.Type, events)
	if c, ok := r.cfg.Publisher.(checker); ok {
		if err := c.Check(events...); err != nil {
			return &InvalidError{Stream: s, Err: err}
		}
	}

	_, landed := r.flight.claim(events) // before the append: PublishPending must not be quicker
	defer landed()
	if err := r.cfg.Store.Append(ctx, s, root.version-int64(len(events)), events); err != nil {
		if conflict := (*ConflictError)(nil); errors.As(err, &conflict) {
			return err
		}
		return fmt.Errorf("aggregate: save %s: %w", s, err)
	}
	root.raised = nil
	return r.publishSaved(ctx, s, events)
}

type causeKey struct{}

// WithCause returns a context in which the events that Save stores are caused
// by parent. In a handler of a bus that is the event it handles, without a call:
// WithCause is for other causes, and for other contexts:
//
//	err := orders.Save(aggregate.WithCause(ctx, &e), order)
func WithCause(ctx context.Context, parent eventbus.Event) context.Context {
	return context.WithValue(ctx, causeKey{}, parent)
}

// tellStory completes what Raise could not know.
func tellStory(ctx context.Context, aggregateType string, events []eventbus.Event) {
	parent, _ := ctx.Value(causeKey{}).(eventbus.Event)
	if parent == nil {
		parent, _ = eventbus.EventFrom(ctx)
	}
	first := events[0].EventBase()
	if parent == nil && first.CorrelationID == "" {
		first.CorrelationID = first.EventID
	}
	for _, e := range events {
		b := e.EventBase()
		if b.AggregateType == "" {
			b.AggregateType = aggregateType
		}
		switch {
		case b.CorrelationID != "": // the caller's own
		case parent != nil:
			*b = b.CausedBy(parent)
		default:
			b.CorrelationID = first.CorrelationID
		}
	}
}
