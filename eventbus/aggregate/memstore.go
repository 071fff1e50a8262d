package aggregate

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/leat-go/leat/eventbus"
)

// MemStore is a [Store] in memory: for tests, development and examples. It
// keeps the very events that it is given, without a limit, and loses them with
// the process. Its methods never block. The zero value is ready to use.
type MemStore struct {
	mu      sync.Mutex
	streams map[Stream]*memStream
	waiting map[Stream]*memStream // those with pending events
	appends int64
}

// memStream never changes an element of its slices, so what was taken of them
// under the lock may be read without it.
type memStream struct {
	events  []eventbus.Event
	pending []eventbus.Event
	since   int64 // the append that made it wait
}

// NewMemStore returns an empty store.
func NewMemStore() *MemStore { return &MemStore{} }

// Append implements [Store].
func (m *MemStore) Append(ctx context.Context, s Stream, expected int64, events []eventbus.Event) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.streams[s]
	if st == nil {
		st = &memStream{}
	}
	if actual := int64(len(st.events)); actual != expected {
		return &ConflictError{Stream: s, Expected: expected, Actual: actual}
	}
	if len(events) == 0 {
		return nil
	}
	if m.streams == nil {
		m.streams, m.waiting = map[Stream]*memStream{}, map[Stream]*memStream{}
	}
	m.appends++
	if len(st.pending) == 0 {
		st.since = m.appends
	}
	st.events = append(st.events, events...)
	st.pending = append(st.pending, events...)
	m.streams[s], m.waiting[s] = st, st
	return nil
}

// Load implements [Store].
func (m *MemStore) Load(ctx context.Context, s Stream) iter.Seq2[eventbus.Event, error] {
	return func(yield func(eventbus.Event, error) bool) {
		m.mu.Lock()
		var events []eventbus.Event
		if st := m.streams[s]; st != nil {
			events = st.events
		}
		m.mu.Unlock()
		each(ctx, events, yield)
	}
}

// Pending implements [Store]; streams come in the order in which they began to
// wait.
func (m *MemStore) Pending(ctx context.Context, s Stream) iter.Seq2[eventbus.Event, error] {
	return func(yield func(eventbus.Event, error) bool) {
		m.mu.Lock()
		var found []memStream
		if s.ID != "" {
			if st := m.waiting[s]; st != nil {
				found = append(found, *st)
			}
		} else {
			for name, st := range m.waiting {
				if name.Type == s.Type {
					found = append(found, *st)
				}
			}
		}
		m.mu.Unlock()
		slices.SortFunc(found, func(a, b memStream) int { return cmp.Compare(a.since, b.since) })
		for _, st := range found {
			if !each(ctx, st.pending, yield) {
				return
			}
		}
	}
}

func each(ctx context.Context, events []eventbus.Event, yield func(eventbus.Event, error) bool) bool {
	for _, e := range events {
		if ctx.Err() != nil {
			yield(nil, context.Cause(ctx))
			return false
		}
		if !yield(e, nil) {
			return false
		}
	}
	return true
}

// MarkPublished implements [Store].
func (m *MemStore) MarkPublished(_ context.Context, s Stream, events []eventbus.Event) error {
	published := make(map[string]bool, len(events))
	for _, e := range events {
		published[e.EventBase().EventID] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.waiting[s]
	if st == nil {
		return nil
	}
	var left []eventbus.Event
	for _, e := range st.pending {
		if !published[e.EventBase().EventID] {
			left = append(left, e)
		}
	}
	if st.pending = left; len(left) == 0 {
		delete(m.waiting, s)
	}
	return nil
}

var _ Store = (*MemStore)(nil)
