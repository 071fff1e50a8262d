package redisbus

import (
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/msgctx"
	"github.com/leat-go/leat/middleware"
)

// entry is one stream entry from its reading until the server has confirmed
// its acknowledgement, or it was handed back.
type entry struct {
	msg      *message.Message // the first delivery; later ones are copies
	ctx      msgctx.Context   // of the first delivery
	delivery middleware.Delivery
	level    level
	over     bool      // delivered too often: to be buried
	run      *recovery // that claimed it; nil mostly

	prev, next *entry // in the table
	settled    bool   // handled or buried; the ack may still be on its way
	buried     bool   // by the middleware
	lost       bool   // another consumer claimed it meanwhile
}

func (e *entry) key() string { return e.delivery.Key }

// level says how careful one must be with an entry, because its last consumers
// died; see isolation in claim.go.
type level int

const (
	fresh level = iota
	suspect
	prime
)

// inflight is the table of the entries that are read and not acknowledged, in
// the order of reading: what MaxInFlight bounds, what the heartbeat keeps, and
// what a drain hands back.
type inflight struct {
	limit int

	mu       sync.Mutex
	head     entry // of a ring
	n        int
	open     int    // not settled
	suspects [3]int // by level; a suspect is one until its ack is confirmed

	freed chan struct{} // one token: room was made
}

func newInflight(limit int) *inflight {
	t := &inflight{limit: limit, freed: make(chan struct{}, 1)}
	t.head.prev, t.head.next = &t.head, &t.head
	return t
}

func (t *inflight) add(batch []*entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range batch {
		last := t.head.prev
		last.next, e.prev, e.next, t.head.prev = e, last, &t.head, e
		t.suspects[e.level]++
	}
	t.n += len(batch)
	t.open += len(batch)
}

// settle marks e as handled and reports whether the middleware had buried it,
// and whether its ack should not wait: nothing else is left to do, or other
// suspects wait for it.
func (t *inflight) settle(e *entry) (buried, idle bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !e.settled {
		e.settled = true
		t.open--
	}
	return e.buried, t.open == 0 || e.level != fresh
}

// remove forgets entries whose ack is confirmed.
func (t *inflight) remove(batch []*entry) {
	t.mu.Lock()
	for _, e := range batch {
		if e.next == nil {
			continue
		}
		e.prev.next, e.next.prev = e.next, e.prev
		e.prev, e.next = nil, nil
		t.n--
		t.suspects[e.level]--
		if !e.settled {
			e.settled = true
			t.open--
		}
	}
	t.mu.Unlock()
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

// bury notes that the entry of that id was buried by the middleware.
func (t *inflight) bury(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.head.next; e != &t.head; e = e.next {
		if e.delivery.ID == id {
			e.buried = true
			return
		}
	}
}

// room returns how many more entries may be read.
func (t *inflight) room() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit - t.n
}

// len returns how many entries are read and not acknowledged, and how many of
// them are not settled.
func (t *inflight) len() (n, open int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n, t.open
}

// suspectsOpen returns how many entries of each level there are: handled ones
// too, whose acks are not confirmed. If the next suspect killed the process they
// would be counted among its victims.
func (t *inflight) suspectsOpen() [3]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.suspects
}

// all returns the entries, oldest first.
func (t *inflight) all() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*entry, 0, t.n)
	for e := t.head.next; e != &t.head; e = e.next {
		list = append(list, e)
	}
	return list
}

// unsettled returns the entries that are not handled, oldest first.
func (t *inflight) unsettled() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*entry, 0, t.open)
	for e := t.head.next; e != &t.head; e = e.next {
		if !e.settled {
			list = append(list, e)
		}
	}
	return list
}

// rest returns how many entries there are, and those that are not settled.
func (t *inflight) rest() (n int, unsettled []*entry) {
	unsettled = t.unsettled()
	n, open := t.len()
	return n - open + len(unsettled), unsettled
}

// ids returns the ids of all entries, and the UUIDs of their messages.
func (t *inflight) ids() map[string]string {
	ids := make(map[string]string)
	for _, e := range t.all() {
		ids[e.delivery.ID] = e.msg.UUID
	}
	return ids
}

// lose marks an entry that is not settled and that another consumer has, and
// reports whether that is news.
func (t *inflight) lose(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.settled || e.lost {
		return false
	}
	e.lost = true
	return true
}
