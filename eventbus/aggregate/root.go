package aggregate

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/leat-go/leat/eventbus"
)

// Aggregate is a pointer to a struct that embeds [Root] and applies its events.
type Aggregate interface {
	// Apply changes the state by what happened. It gets new events and old
	// ones alike, so it must depend on the event alone: no clock, no chance,
	// no I/O, no refusal. Events of types that it does not know it ignores. It
	// must not change or keep the event.
	Apply(e eventbus.Event)

	root() *Root
}

// Root is embedded by an aggregate, and keeps its identity, its version and
// the events that were raised and not saved:
//
//	type Order struct {
//		aggregate.Root
//		paid bool
//	}
//
// The zero Root gets its identity from [Repository] or [Replay]. An aggregate
// is for one goroutine at a time.
type Root struct {
	id      string
	version int64
	raised  []eventbus.Event
}

func (r *Root) root() *Root { return r }

var _ interface{ root() *Root } = (*Root)(nil) // what embedding promotes

// ID returns the identity of the aggregate.
func (r *Root) ID() string { return r.id }

// Version returns how many events made the present state, those that are not
// saved yet included: 0 means that the aggregate does not exist yet.
func (r *Root) Version() int64 { return r.version }

// Uncommitted returns the events that were raised and not saved, oldest first.
// The slice is the caller's, the events are to be read only.
func (r *Root) Uncommitted() []eventbus.Event { return slices.Clone(r.raised) }

// ErrNoIdentity is returned by Raise and Save for an aggregate that was made
// with neither a [Repository] nor [Replay].
var ErrNoIdentity = errors.New("aggregate: it has no id: make it with Repository.New or aggregate.Replay")

// ErrBrokenHistory is wrapped when the events of an aggregate are not those of
// one aggregate with versions 1, 2, 3 and so on.
var ErrBrokenHistory = errors.New("broken history")

// Raise records that e happened to a: it completes the event's base, applies
// it, and keeps it for the next Save. A command ends with it:
//
//	return aggregate.Raise(o, &OrderPaid{Amount: amount})
//
// Id, time, aggregate id and version are filled in; what the caller has set
// stays, except the version. Repository.Save adds the aggregate type and the
// correlation. An error means that nothing was recorded: a nil event, one of
// another aggregate (both wrap eventbus.ErrInvalidEvent), or [ErrNoIdentity].
func Raise(a Aggregate, e eventbus.Event) error {
	r := a.root()
	if r.id == "" {
		return ErrNoIdentity
	}
	if v := reflect.ValueOf(e); e == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("aggregate: raise: %w: it is nil", eventbus.ErrInvalidEvent)
	}
	b := e.EventBase()
	if b.AggregateID != "" && b.AggregateID != r.id {
		return fmt.Errorf("aggregate: raise: %w: %T is of aggregate %q, not %q", eventbus.ErrInvalidEvent, e, b.AggregateID, r.id)
	}
	if b.EventID == "" {
		b.EventID = eventbus.NewID()
	}
	if b.OccurredAt.IsZero() {
		b.OccurredAt = time.Now().UTC().Truncate(time.Microsecond)
	}
	b.AggregateID = r.id
	b.AggregateVersion = r.version + 1
	r.version++
	r.raised = append(r.raised, e)
	a.Apply(e)
	return nil
}

// Replay brings a, fresh or at an earlier version, to the state after events:
// what Repository.Load does, and how a test says what has happened so far. The
// error wraps [ErrBrokenHistory] when an event belongs to another aggregate or
// its version is not the next; a is then half way and of no use.
func Replay(a Aggregate, id string, events ...eventbus.Event) error {
	r := a.root()
	if id == "" {
		return ErrNoIdentity
	}
	if r.id != "" && r.id != id {
		return fmt.Errorf("aggregate: replay %q: %w: the aggregate is %q", id, ErrBrokenHistory, r.id)
	}
	r.id = id
	for _, e := range events {
		if err := replay(a, e); err != nil {
			return err
		}
	}
	return nil
}

func replay(a Aggregate, e eventbus.Event) error {
	r, b := a.root(), e.EventBase()
	if b.AggregateID != r.id || b.AggregateVersion != r.version+1 {
		return fmt.Errorf("aggregate: replay %q: %w: version %d of %q follows version %d",
			r.id, ErrBrokenHistory, b.AggregateVersion, b.AggregateID, r.version)
	}
	r.version++
	a.Apply(e)
	return nil
}
