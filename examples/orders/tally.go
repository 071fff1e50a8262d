package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// tally is the proof of the run: it knows which events were accepted and which
// handlers want them, and counts, as a middleware around every attempt of
// every handler, who has handled what.
type tally struct {
	reg   *eventbus.Registry
	wants map[string][]string // handlers by event type

	mu      sync.Mutex
	events  map[string]*counted // by event id
	runs    int                 // successful runs of handlers
	open    int                 // runs that are still to come
	dead    int                 // those of them that a dead letter stands for
	doubled int
	foreign int // runs on events that this process did not publish
}

// counted is one accepted event; runs and dead go with wants[typ].
type counted struct {
	typ, order string
	runs       []int
	dead       []bool
}

func newTally(reg *eventbus.Registry) *tally {
	return &tally{reg: reg, events: map[string]*counted{}}
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
		t.events[b.EventID] = &counted{typ: typ, order: b.AggregateID, runs: make([]int, n), dead: make([]bool, n)}
		t.open += n
	}
}

// Middleware counts the runs that succeed.
func (t *tally) Middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		out, err := next(msg)
		if err == nil {
			t.handled(msg.UUID, middleware.HandlerName(msg.Context()))
		}
		return out, err
	}
}

func (t *tally) handled(id, handler string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.events[id]
	if c == nil {
		t.foreign++
		return
	}
	t.runs++
	for i, name := range t.wants[c.typ] {
		if name != handler {
			continue
		}
		switch c.runs[i]++; {
		case c.runs[i] > 1:
			t.doubled++
		case c.dead[i]: // replayed
			t.dead--
			c.dead[i] = false
			t.open--
		default:
			t.open--
		}
	}
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
		if slices.Contains(l.Handlers, name) && c.runs[i] == 0 && !c.dead[i] {
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

// wait returns when every run that was due has happened or became a letter,
// when nothing has happened for as long as the patience lasts, or with ctx.
func (t *tally) wait(ctx context.Context, patience time.Duration, letters *dlq.Queue, buried func() int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var known int64
	last, since := -1, time.Now()
	for {
		if n := buried(); n != known {
			if _, _, err := t.bury(ctx, letters); err != nil {
				return fmt.Errorf("list the dead letters: %w", err)
			}
			known, since = n, time.Now()
		}
		t.mu.Lock()
		due, runs := t.open-t.dead, t.runs+t.foreign
		t.mu.Unlock()
		if due == 0 {
			return nil
		}
		if runs != last {
			last, since = runs, time.Now()
		}
		if time.Since(since) > patience {
			return nil // the check at the end tells what is missing
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// counts returns how many events were accepted and how many runs there were.
func (t *tally) counts() (events, runs int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.events), t.runs
}

// problems names the handlers that did not handle an event exactly once.
func (t *tally) problems() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for id, c := range t.events {
		for i, name := range t.wants[c.typ] {
			switch n := c.runs[i]; {
			case n == 1:
			case n == 0 && c.dead[i]:
				all = append(all, fmt.Sprintf("%s of order %s: %s gave up on it; it is a dead letter (event %s)", c.typ, c.order, name, id))
			default:
				all = append(all, fmt.Sprintf("%s of order %s: %s handled it %d times (event %s)", c.typ, c.order, name, n, id))
			}
		}
	}
	return all
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
