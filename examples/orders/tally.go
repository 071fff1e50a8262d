package main

import (
	"context"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// tally is the proof of the run: it knows which events were accepted and which
// handlers want them, and counts, for every process of the run, who has handled
// what.
type tally struct {
	reg   *eventbus.Registry
	wants map[string][]string // handlers by event type

	mu     sync.Mutex
	events map[string]*counted // by event id
	by     []part              // by process; the first one is this
	open   int                 // runs that are still to come
	dead   int                 // those of them that a dead letter stands for
}

// counted is one accepted event; runs and dead go with wants[typ].
type counted struct {
	typ, order string
	runs       [][]int // the processes whose handler has succeeded
	dead       []bool
}

// part is what one process has done.
type part struct {
	events  int // of this run, at least one handler
	runs    int // successful runs of handlers on them
	foreign int // runs on events that this run did not publish
	crashed bool
}

func newTally(reg *eventbus.Registry, processes int) *tally {
	return &tally{reg: reg, events: map[string]*counted{}, by: make([]part, processes)}
}

// learn asks the bus who wants what. It is called once, after subscribing.
func (t *tally) learn(subscribed []eventbus.HandlerStats) {
	t.wants = map[string][]string{}
	for _, name := range t.reg.Names() {
		for _, s := range subscribed {
			if s.EventType == name || s.EventType == "" {
				t.wants[name] = append(t.wants[name], s.Handler)
			}
		}
	}
}

// accept enters events that are about to be published; again is no harm.
func (t *tally) accept(events []eventbus.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		b := e.EventBase()
		if t.events[b.EventID] != nil {
			continue
		}
		typ, _ := t.reg.NameOf(e) // Publish refuses what is not registered
		n := len(t.wants[typ])
		t.events[b.EventID] = &counted{typ: typ, order: b.AggregateID, runs: make([][]int, n), dead: make([]bool, n)}
		t.open += n
	}
}

// recording tells record of each run of a handler that succeeds.
func recording(record func(event, handler string)) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			out, err := next(msg)
			if err == nil {
				record(msg.UUID, middleware.HandlerName(msg.Context()))
			}
			return out, err
		}
	}
}

// handled counts a run of a handler in a process.
func (t *tally) handled(process int, id, handler string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, c := &t.by[process], t.events[id]
	if c == nil {
		p.foreign++
		return
	}
	p.runs++
	if !slices.ContainsFunc(c.runs, func(by []int) bool { return slices.Contains(by, process) }) {
		p.events++
	}
	for i, name := range t.wants[c.typ] {
		if name != handler {
			continue
		}
		if c.runs[i] = append(c.runs[i], process); len(c.runs[i]) > 1 {
			continue
		}
		t.open--
		if c.dead[i] { // replayed
			t.dead--
			c.dead[i] = false
		}
	}
}

// crashed notes that a process ended before its time.
func (t *tally) crashed(process int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.by[process].crashed = true
}

// bury enters the letters of this run and returns them; others are counted.
func (t *tally) bury(ctx context.Context, letters *dlq.Queue) (mine []dlq.Letter, others int, err error) {
	for l, err := range letters.List(ctx, dlq.Query{}) {
		if err != nil {
			return nil, 0, err
		}
		if t.enter(l) {
			mine = append(mine, l)
		} else {
			others++
		}
	}
	return mine, others, nil
}

func (t *tally) enter(l dlq.Letter) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.events[l.MessageID]
	if c == nil {
		return false
	}
	for i, name := range t.wants[c.typ] {
		if slices.Contains(l.Handlers, name) && len(c.runs[i]) == 0 && !c.dead[i] {
			c.dead[i] = true
			t.dead++
		}
	}
	return true
}

// replayed makes the runs due again that a letter stood for, if they have not
// happened meanwhile.
func (t *tally) replayed(l dlq.Letter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.events[l.MessageID]
	for i, name := range t.wants[c.typ] {
		if c.dead[i] && slices.Contains(l.Handlers, name) {
			c.dead[i] = false
			t.dead--
		}
	}
}

// counts returns how many events were accepted and how many runs there were.
func (t *tally) counts() (events, runs int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.by {
		runs += p.runs
	}
	return len(t.events), runs
}

// state returns how many runs are due, how many things have happened so far,
// and how many processes have crashed.
func (t *tally) state() (due, happened, crashes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.by {
		happened += p.runs + p.foreign
		if p.crashed {
			crashes++
		}
	}
	return t.open - t.dead, happened + crashes, crashes
}

// parts returns what each process has done.
func (t *tally) parts() []part {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.by)
}

// counting is the publisher of the repository: the bus, behind the tally.
type counting struct {
	bus   eventbus.AnyBus
	tally *tally
}

// Publish enters the events and passes them on.
func (c counting) Publish(ctx context.Context, events ...eventbus.Event) error {
	c.tally.accept(events)
	return c.bus.Publish(ctx, events...)
}
