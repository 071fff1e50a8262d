package rabbitbus

import (
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/msgctx"
	"github.com/leat-go/leat/middleware"
)

// entry is one delivery from its arrival until it is acknowledged, or its
// channel is gone.
type entry struct {
	msg      *message.Message // the first delivery; later ones are copies
	ctx      msgctx.Context   // of the first delivery
	delivery middleware.Delivery
	known    identity // by which its redelivery is known
	sess     *session
	tag      uint64
	again    bool // the broker says that it was delivered before
	over     bool // delivered too often: to be buried

	prev, next *entry // in the table
	settled    bool   // handled or buried; the ack may still wait
	waited     bool   // its ack was left for once
	acked      bool
}

// inflight is the table of a session's deliveries that are not acknowledged, in
// the order of their tags: what one multiple ack may cover.
type inflight struct {
	mu      sync.Mutex
	head    entry // of a ring
	n       int
	open    int           // not settled
	loose   []*entry      // settled and not acked, in the order of settling
	voided  bool          // the channel is gone
	recent  []finishedAt  // the last messages that were acknowledged, a ring
	at      int           // where the next one goes
	drained chan struct{} // one token: hardly anything is being handled
}

// newInflight returns a table for at most prefetch messages that the broker takes
// for unacknowledged: among them are the last ones whose ack it has not read.
func newInflight(prefetch int) *inflight {
	t := &inflight{drained: make(chan struct{}, 1), recent: make([]finishedAt, prefetch)}
	t.head.prev, t.head.next = &t.head, &t.head
	return t
}

// add reports false when the channel is gone already.
func (t *inflight) add(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.voided {
		return false
	}
	last := t.head.prev
	last.next, e.prev, e.next, t.head.prev = e, last, &t.head, e
	t.n++
	t.open++
	return true
}

// settle marks e as handled. It returns how many acks wait. Not ok: the channel
// is gone.
func (t *inflight) settle(e *entry) (waiting int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.voided {
		return 0, false
	}
	if !e.settled {
		e.settled = true
		t.open--
		t.loose = append(t.loose, e)
	}
	if t.open <= 1 {
		signal(t.drained)
	}
	return len(t.loose), true
}

// collect returns what there is to acknowledge, and forgets it: upTo covers all
// tags up to it, single are those behind a message that is still being handled.
// At most spare of the latter are left for once: an acknowledgement for itself
// costs the broker as much as one for many, and what is before them is mostly
// done by the next time. n is how many messages that makes, left how many wait.
func (t *inflight) collect(spare int) (upTo uint64, single []uint64, n, left int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.voided {
		return 0, nil, 0, 0
	}
	now := time.Now()
	for e := t.head.next; e != &t.head && e.settled; e = t.head.next {
		upTo = e.tag
		t.remove(e, now)
		n++
	}
	patient := len(t.loose)-n <= spare
	kept := t.loose[:0]
	for _, e := range t.loose {
		switch {
		case e.acked:
		case patient && !e.waited:
			e.waited = true
			kept = append(kept, e)
		default:
			single = append(single, e.tag)
			t.remove(e, now)
			n++
		}
	}
	clear(t.loose[len(kept):])
	t.loose = kept
	return upTo, single, n, len(kept)
}

// remove is called with mu held.
func (t *inflight) remove(e *entry, now time.Time) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next, e.acked = nil, nil, true
	t.n--
	t.recent[t.at] = finishedAt{e.known, now}
	t.at = (t.at + 1) % len(t.recent)
}

// void ends the table: the channel is gone, and with it every tag. It returns
// what was not acknowledged, and whose acknowledgement may have been lost.
func (t *inflight) void() (left []*entry, recent []finishedAt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.voided = true
	for e := t.head.next; e != &t.head; e = e.next {
		left = append(left, e)
	}
	signal(t.drained)
	return left, t.recent
}

// len returns how many messages are not acknowledged, and how many of them are
// not settled.
func (t *inflight) len() (n, open int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n, t.open
}
