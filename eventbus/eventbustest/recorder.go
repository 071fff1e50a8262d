package eventbustest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus"
)

// Recorder is an event handler that remembers the events it was given, in the
// order in which it was, repetitions included:
//
//	var mails eventbustest.Recorder
//	_, err := bus.SubscribeHandler(eventbus.TypeFor[OrderCreated](), "mail", &mails)
//	...
//	mails.Want(t, created)
//
// The zero value is ready, and returns nil for each event. All methods may be
// called from many goroutines. The methods that wait return as soon as they
// can, and fail the test when Timeout is over.
type Recorder struct {
	// Do, when not nil, decides what Handle returns, and may block; the event is
	// recorded before. Set it before the recorder is subscribed.
	Do func(ctx context.Context, e eventbus.Event) error
	// Timeout is how long a method waits; 0 means five seconds.
	Timeout time.Duration

	mu      sync.Mutex
	events  []eventbus.Event
	changed chan struct{} // closed at the next event
}

var _ eventbus.Handler = (*Recorder)(nil)

// Handle records the event, and returns what Do says.
func (r *Recorder) Handle(ctx context.Context, e eventbus.Event) error {
	r.mu.Lock()
	r.events = append(r.events, e)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	r.mu.Unlock()
	if r.Do != nil {
		return r.Do(ctx, e)
	}
	return nil
}

// Events returns what was recorded so far.
func (r *Recorder) Events() []eventbus.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Len returns how many events were recorded so far.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

// Count returns how often the event was recorded so far, by its id.
func (r *Recorder) Count(e eventbus.Event) int {
	n := 0
	for _, got := range r.Events() {
		if got.EventBase().EventID == e.EventBase().EventID {
			n++
		}
	}
	return n
}

// Reset forgets what was recorded.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

// Wait waits until at least n events were recorded, and returns all.
func (r *Recorder) Wait(t testing.TB, n int) []eventbus.Event {
	t.Helper()
	var got []eventbus.Event
	if !r.until(func(events []eventbus.Event) bool { got = slices.Clone(events); return len(events) >= n }) {
		t.Fatalf("recorder: %d events within %v, want %d; so far: %v", len(got), r.timeout(), n, list(describe(got)))
	}
	return got
}

// WaitFor waits until the event was recorded.
func (r *Recorder) WaitFor(t testing.TB, e eventbus.Event) {
	t.Helper()
	id := e.EventBase().EventID
	var got []eventbus.Event
	if !r.until(func(events []eventbus.Event) bool {
		got = slices.Clone(events)
		return slices.ContainsFunc(events, func(e eventbus.Event) bool { return e.EventBase().EventID == id })
	}) {
		t.Fatalf("recorder: no event %s within %v; so far: %v", id, r.timeout(), list(describe(got)))
	}
}

// Want waits for as many events as are given, and fails the test unless
// exactly those were recorded, in this order. Events are compared by id.
func (r *Recorder) Want(t testing.TB, events ...eventbus.Event) {
	t.Helper()
	got := r.Wait(t, len(events))
	if !slices.Equal(ids(got), ids(events)) {
		t.Errorf("recorder: recorded %v, want %v", list(describe(got)), list(describe(events)))
	}
}

// WantAnyOrder is Want without the order; each event must have come as often
// as it is given.
func (r *Recorder) WantAnyOrder(t testing.TB, events ...eventbus.Event) {
	t.Helper()
	got := r.Wait(t, len(events))
	if !slices.Equal(slices.Sorted(slices.Values(ids(got))), slices.Sorted(slices.Values(ids(events)))) {
		t.Errorf("recorder: recorded %v, want in any order %v", list(describe(got)), list(describe(events)))
	}
}

// EventsOf returns those of the recorded events that have the type, as values:
//
//	for _, e := range eventbustest.EventsOf[OrderCreated](&mails) { ... }
func EventsOf[T any, P eventbus.EventPtr[T]](r *Recorder) []T {
	var typed []T
	for _, e := range r.Events() {
		if p, ok := e.(P); ok {
			typed = append(typed, *p)
		}
	}
	return typed
}

func (r *Recorder) timeout() time.Duration {
	if r.Timeout <= 0 {
		return 5 * time.Second
	}
	return r.Timeout
}

// until waits for the recorded events to satisfy holds, which must not keep
// them.
func (r *Recorder) until(holds func([]eventbus.Event) bool) bool {
	end := time.NewTimer(r.timeout())
	defer end.Stop()
	for {
		r.mu.Lock()
		ok := holds(r.events)
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-end.C:
			return false
		}
	}
}

func ids(events []eventbus.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.EventBase().EventID
	}
	return out
}

func describe(events []eventbus.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		b := e.EventBase()
		out[i] = fmt.Sprintf("%T(%s of %s)", e, b.EventID, b.AggregateID)
	}
	return out
}
