package redisbus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Recovery tells what [Subscriber.RecoverPending] did.
type Recovery struct {
	Checked     int // pending entries looked at, those in flight here not among them
	Claimed     int // of those, taken over by this consumer
	Reprocessed int // of those, handled and acknowledged
	Failed      int // nacked, or handed back by a drain
	DLQ         int // buried: delivered too often, or a handler gave up on them
}

// RecoverPending claims, now, the entries of topic that are read and not
// acknowledged and have been idle for minIdle, from whatever consumer, hands
// them to the subscription, and returns when all are done with. It does by hand
// what goes on by itself every few seconds.
//
// An entry that was already delivered maxDeliveries times is buried instead; a
// negative value means the configured MaxDeliveries. Zero values are honoured: a
// minIdle of 0 takes the entries that live consumers are handling, too, and
// maxDeliveries 0 buries all.
//
// It needs a live subscription to topic and returns [ErrNotSubscribed] without.
// When ctx ends it returns what is known so far, with the context's error.
func (s *Subscriber) RecoverPending(ctx context.Context, topic string, minIdle time.Duration, maxDeliveries int) (Recovery, error) {
	s.mu.Lock()
	subs := s.live(topic)
	s.mu.Unlock()
	if len(subs) == 0 {
		return Recovery{}, fmt.Errorf("redisbus: recover pending of %q: %w", topic, ErrNotSubscribed)
	}
	sub := subs[0]
	if maxDeliveries < 0 {
		maxDeliveries = s.cfg.MaxDeliveries
	}
	if s.cfg.DeadLetters == nil {
		maxDeliveries = NoMaxDeliveries
	}
	run := &recovery{minIdle: max(0, minIdle), max: maxDeliveries, done: make(chan struct{}), picked: make(chan struct{}), scanning: true}
	sub.read.ask(run)
	defer run.abandon()

	wake := time.NewTicker(10 * time.Millisecond)
	defer wake.Stop()
	picked, wakes := run.picked, wake.C
	for {
		select {
		case <-run.done:
			return run.snapshot(), nil
		case <-picked:
			picked, wakes = nil, nil
		case <-wakes:
			sub.read.conn.unblock(ctx)
		case <-sub.ending.Ended:
			return run.snapshot(), fmt.Errorf("redisbus: recover pending of %q: %w", topic, ErrClosed)
		case <-ctx.Done():
			return run.snapshot(), fmt.Errorf("redisbus: recover pending of %q: %w", topic, context.Cause(ctx))
		}
	}
}

// outcome is what became of an entry.
type outcome int

const (
	acked outcome = iota
	nacked
	handedBack
	buried
)

// recovery is one RecoverPending call under way. Its methods do nothing on a
// nil recovery, which is what most entries have.
type recovery struct {
	minIdle time.Duration
	max     int
	cursor  string // the reader's
	done    chan struct{}
	picked  chan struct{} // closed when the reader has taken it up

	mu       sync.Mutex
	counts   Recovery
	open     int
	scanning bool
	given    bool // up: nobody waits any more
	closed   bool
}

// over reports whether an entry that was delivered count times is to be buried.
func (r *recovery) over(count int64) bool {
	return r != nil && r.max >= 0 && count >= int64(r.max)
}

func (r *recovery) check() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Checked++
}

func (r *recovery) claim() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Claimed++
	r.open++
}

func (r *recovery) outcome(o outcome) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch o {
	case acked:
		r.counts.Reprocessed++
	case buried:
		r.counts.DLQ++
	case nacked, handedBack:
		r.counts.Failed++
	}
	r.open--
	r.finish()
}

// scanned notes that all pending entries were looked at.
func (r *recovery) scanned() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scanning = false
	r.finish()
}

// finish is called with mu held.
func (r *recovery) finish() {
	if !r.scanning && r.open == 0 && !r.closed {
		r.closed = true
		close(r.done)
	}
}

func (r *recovery) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.given = true
}

func (r *recovery) abandoned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.given
}

func (r *recovery) snapshot() Recovery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// ask queues a recovery for the reader.
func (r *reader) ask(run *recovery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, run)
}

// busy reports whether a recovery is under way.
func (r *reader) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked) > 0
}

// serveRequests claims a page for the oldest recovery under way.
func (r *reader) serveRequests(ctx context.Context) error {
	r.mu.Lock()
	r.asked = slices.DeleteFunc(r.asked, (*recovery).abandoned)
	var run *recovery
	if len(r.asked) > 0 {
		run = r.asked[0]
	}
	r.mu.Unlock()
	if run == nil {
		return nil
	}
	if run.cursor == "" {
		run.cursor = "-"
		close(run.picked)
	}
	page := min(r.s.table.room(), r.s.cfg.BatchSize)
	if page <= 0 {
		return nil
	}
	rows, err := r.pending(ctx, run.cursor, run.minIdle, "", page)
	if err != nil {
		return err
	}
	got, _, err := r.claimRows(ctx, rows, claim{counted: true, minIdle: run.minIdle, run: run})
	r.s.stats.claimed.Add(int64(len(got)))
	if err != nil {
		return err
	}
	if len(rows) == page {
		run.cursor = "(" + rows[len(rows)-1].ID
		return nil
	}
	r.mu.Lock()
	r.asked = slices.DeleteFunc(r.asked, func(x *recovery) bool { return x == run })
	r.mu.Unlock()
	run.scanned()
	return nil
}
