package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

// Ledger is the oracle of every test that has to say whether a bus lost,
// invented or reordered something. It records what was published and what
// Publish said of it, what handlers began and finished, and what was buried;
// Check then balances the books:
//
//   - each confirmed event was finished by every handler of the ledger, or
//     buried for it;
//   - nothing was handled or buried that was not published, or that Publish
//     called refused;
//   - with Ordered, each handler began the events of one key in the order of
//     publishing, and never two at a time;
//   - with Once, no handler finished an event twice.
//
// The zero value is ready. All methods may be called from many goroutines.
type Ledger struct {
	// Ordered demands order by key. The order is only judged where publishing
	// had one: between calls of Publish that did not overlap, and inside a call.
	Ordered bool
	// Once forbids repetitions. Leave it out where something crashes.
	Once bool

	mu        sync.Mutex
	clock     int
	published map[string]*publication
	handlers  map[string]*handling
	letters   []dlq.Letter
	offences  []string // what was seen to be wrong at once
}

type publication struct {
	key          string
	begun, ended int // of the call; events of one call differ in begun
	outcome      eventbus.Outcome
	again        bool // published more than once: it has no place in the order
}

// handling is what one handler did.
type handling struct {
	starts   []string       // first starts, in order
	started  map[string]int // how often
	finished map[string]int
	running  map[string]string // key -> event
}

// Publish publishes the events on the bus and records the outcome of each,
// as Publish told it. It returns what Publish did.
func (l *Ledger) Publish(ctx context.Context, bus interface {
	Publish(ctx context.Context, events ...eventbus.Event) error
}, events ...eventbus.Event,
) error {
	entries := l.begin(events)
	err := bus.Publish(ctx, events...)
	l.end(entries, err)
	return err
}

func (l *Ledger) begin(events []eventbus.Event) []*publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.published == nil {
		l.published = map[string]*publication{}
	}
	entries := make([]*publication, len(events))
	for i, e := range events {
		l.clock++
		b := e.EventBase()
		if p := l.published[b.EventID]; p != nil {
			p.again = true
			entries[i] = p
			continue
		}
		entries[i] = &publication{key: b.AggregateID, begun: l.clock, outcome: eventbus.Unknown}
		l.published[b.EventID] = entries[i]
	}
	return entries
}

func (l *Ledger) end(entries []*publication, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	var told *eventbus.PublishError
	switch {
	case err == nil:
	case !errors.As(err, &told):
		told = nil // ErrClosed and the like: nothing was sent
	case len(told.Results) != len(entries):
		l.offences = append(l.offences, fmt.Sprintf("the PublishError of %d events has %d results", len(entries), len(told.Results)))
		return
	}
	for i, p := range entries {
		p.ended = l.clock
		outcome := eventbus.Refused
		if err == nil {
			outcome = eventbus.Confirmed
		} else if told != nil {
			outcome = told.Results[i].Outcome
		}
		if !p.again || outcome == eventbus.Confirmed || p.outcome == eventbus.Refused {
			p.outcome = outcome // a second attempt takes nothing back that the first one promised
		}
	}
}

// Handler wraps a handler so that the ledger sees what it begins and finishes;
// h may be nil for one that always succeeds. Subscribe it under the same name.
func (l *Ledger) Handler(name string, h eventbus.Handler) eventbus.Handler {
	l.mu.Lock()
	l.of(name)
	l.mu.Unlock()
	return eventbus.HandlerFunc(func(ctx context.Context, e eventbus.Event) error {
		l.start(name, e)
		ok := false
		defer func() { l.finish(name, e, ok) }() // also when h panics
		if h != nil {
			if err := h.Handle(ctx, e); err != nil {
				return err
			}
		}
		ok = true
		return nil
	})
}

// of is called with mu held.
func (l *Ledger) of(name string) *handling {
	if l.handlers == nil {
		l.handlers = map[string]*handling{}
	}
	h := l.handlers[name]
	if h == nil {
		h = &handling{started: map[string]int{}, finished: map[string]int{}, running: map[string]string{}}
		l.handlers[name] = h
	}
	return h
}

func (l *Ledger) start(name string, e eventbus.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, b := l.of(name), e.EventBase()
	if h.started[b.EventID] == 0 {
		h.starts = append(h.starts, b.EventID)
	}
	h.started[b.EventID]++
	if other, busy := h.running[b.AggregateID]; busy && l.Ordered {
		l.offences = append(l.offences, fmt.Sprintf("handler %s began %s while it still ran %s of the same key %q", name, b.EventID, other, b.AggregateID))
	}
	h.running[b.AggregateID] = b.EventID
}

func (l *Ledger) finish(name string, e eventbus.Event, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, b := l.of(name), e.EventBase()
	if h.running[b.AggregateID] == b.EventID {
		delete(h.running, b.AggregateID)
	}
	if ok {
		h.finished[b.EventID]++
	}
}

// Letter records a letter. A replayed letter that was recorded before stays in
// the books; that does no harm.
func (l *Ledger) Letter(letter dlq.Letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.letters = append(l.letters, letter.Clone())
}

// Letters records all letters of the queue.
func (l *Ledger) Letters(ctx context.Context, q *dlq.Queue) error {
	for letter, err := range q.List(ctx, dlq.Query{}) {
		if err != nil {
			return err
		}
		l.Letter(letter)
	}
	return nil
}

// Finished returns how many different events the handler finished.
func (l *Ledger) Finished(handler string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.of(handler).finished)
}

// Confirmed returns how many events were confirmed.
func (l *Ledger) Confirmed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, p := range l.published {
		if p.outcome == eventbus.Confirmed {
			n++
		}
	}
	return n
}

// Check fails the test with everything that is wrong. Call it when all is
// over: what is still being handled counts as lost.
func (l *Ledger) Check(t testing.TB) {
	t.Helper()
	for i, p := range l.Problems() {
		if i == 20 {
			t.Error("ledger: ... and more")
			return
		}
		t.Error("ledger: " + p)
	}
}

// Problems returns what Check complains about.
func (l *Ledger) Problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	bad := slices.Clone(l.offences)
	names := make([]string, 0, len(l.handlers))
	for name := range l.handlers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		bad = append(bad, l.lost(name)...)
		bad = append(bad, l.invented(name)...)
		if l.Ordered {
			bad = append(bad, l.disorder(name)...)
		}
		if l.Once {
			bad = append(bad, l.repeated(name)...)
		}
	}
	for i := range l.letters {
		letter := &l.letters[i]
		if p := l.published[letter.MessageID]; p == nil || p.outcome == eventbus.Refused {
			bad = append(bad, fmt.Sprintf("letter %s holds %s, which was not published", letter.ID, letter.MessageID))
		}
	}
	return bad
}

// inOrder returns the ids of published events in the order of publishing.
func (l *Ledger) inOrder() []string {
	all := make([]string, 0, len(l.published))
	for id := range l.published {
		all = append(all, id)
	}
	slices.SortFunc(all, func(a, b string) int { return l.published[a].begun - l.published[b].begun })
	return all
}

func (l *Ledger) lost(name string) (bad []string) {
	h := l.handlers[name]
	for _, id := range l.inOrder() {
		if l.published[id].outcome != eventbus.Confirmed || h.finished[id] > 0 || l.buried(id, name) {
			continue
		}
		bad = append(bad, fmt.Sprintf("lost: %s of key %q was confirmed, and handler %s neither finished it (it began %d times) nor is it buried for it",
			id, l.published[id].key, name, h.started[id]))
	}
	return bad
}

// buried tells whether a letter keeps the event for the handler. One that names
// no handler is about the message itself, and so about all of them.
func (l *Ledger) buried(id, handler string) bool {
	return slices.ContainsFunc(l.letters, func(letter dlq.Letter) bool {
		return letter.MessageID == id && (len(letter.Handlers) == 0 || slices.Contains(letter.Handlers, handler))
	})
}

func (l *Ledger) invented(name string) (bad []string) {
	for _, id := range l.handlers[name].starts {
		switch p := l.published[id]; {
		case p == nil:
			bad = append(bad, fmt.Sprintf("invented: handler %s was given %s, which nobody published", name, id))
		case p.outcome == eventbus.Refused:
			bad = append(bad, fmt.Sprintf("handler %s was given %s, which Publish said was refused", name, id))
		}
	}
	return bad
}

func (l *Ledger) disorder(name string) (bad []string) {
	last := map[string]string{} // key -> the event that was published last of those begun
	for _, id := range l.handlers[name].starts {
		p := l.published[id]
		if p == nil {
			continue
		}
		if before, ok := last[p.key]; ok && l.precedes(p, l.published[before]) {
			bad = append(bad, fmt.Sprintf("order: handler %s began %s before %s, which was published earlier with the same key %q", name, before, id, p.key))
			continue
		}
		last[p.key] = id
	}
	return bad
}

// precedes tells whether a was published before b beyond doubt: in an earlier
// call, or in the same one before it; and both confirmed, since what failed may
// have been sent again.
func (l *Ledger) precedes(a, b *publication) bool {
	if a.outcome != eventbus.Confirmed || b.outcome != eventbus.Confirmed || a.again || b.again {
		return false
	}
	return a.begun < b.begun && (a.ended == b.ended || a.ended < b.begun)
}

func (l *Ledger) repeated(name string) (bad []string) {
	h := l.handlers[name]
	for _, id := range h.starts {
		if n := h.finished[id]; n > 1 {
			bad = append(bad, fmt.Sprintf("repeated: handler %s finished %s %d times", name, id, n))
		}
	}
	return bad
}
