package kafkabus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// batch is the records of one PublishBatch. The client writes into them after
// the caller may have left, so that what it reports is kept apart from what the
// caller sees.
type batch struct {
	context.Context //nolint:containedctx // the caller's, without its end: it is the records'

	deadline time.Time
	topic    string
	records  []kgo.Record
	refused  []error // before sending; nil: none
	sent     []*kgo.Record
	encoder  encoder
	sole     struct { // of a call with one message, so that it costs no more memory
		record [1]kgo.Record
		sent   [1]*kgo.Record
		known  [1]bool
	}
	kept bool // by something that may come back to it; it is not used again

	mu    sync.Mutex
	left  int           // not answered
	errs  []error       // as the client reports them; nil: none yet
	known []bool        // which are answered; nil: none yet
	last  int           // of them, where the search for the next begins
	alone *room         // not nil: what is known of a record is an answer, and gives room
	ended chan struct{} // one token: all are answered, or the deadline has passed
}

// Deadline, Done and Err are those of a context that never ends: the client looks
// at the first of a partition's contexts only, and would fail everybody's records
// with it.
func (b *batch) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }
func (b *batch) Done() <-chan struct{}                   { return nil }
func (b *batch) Err() error                              { return nil }

// Value has the batch too.
func (b *batch) Value(key any) any {
	if key == (batchKey{}) {
		return b
	}
	return b.Context.Value(key)
}

// batchKey is where a record's context has its batch.
type batchKey struct{}

// outcomes is a hook of the clients that OpenClient makes. It tells a batch of
// each record's outcome at once: ProduceSync answers for all together, which is
// too late for a call that ends at its deadline.
type outcomes struct{}

var _ kgo.HookProduceRecordUnbuffered = outcomes{}

// OnProduceRecordUnbuffered is called by the client.
func (outcomes) OnProduceRecordUnbuffered(r *kgo.Record, err error) {
	if r.Context == nil {
		return
	}
	if b, ok := r.Context.Value(batchKey{}).(*batch); ok {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.learn(r, err)
	}
}

func newBatch(n int) *batch {
	b := &batch{ended: make(chan struct{}, 1)}
	if n > 1 {
		b.records, b.sent = make([]kgo.Record, n), make([]*kgo.Record, 0, n)
	} else {
		b.records, b.sent = b.sole.record[:], b.sole.sent[:0]
	}
	return b
}

// reset makes a batch of one message, of which all is answered, as good as new.
func (b *batch) reset() {
	b.Context = nil
	b.sole.record[0], b.sent, b.known, b.sole.known[0] = kgo.Record{}, b.sole.sent[:0], nil, false
	clear(b.encoder.headers)
	b.encoder.headers, b.encoder.bytes = b.encoder.headers[:0], b.encoder.bytes[:0]
	select {
	case <-b.ended: // it was not waited for
	default:
	}
}

func (b *batch) refuse(i int, err error) {
	if b.refused == nil {
		b.refused = make([]error, len(b.records))
	}
	b.refused[i] = err
}

// send hands the records to the client and waits for the answers, for the end of
// ctx, or until the deadline.
func (b *batch) send(ctx context.Context, client *kgo.Client, gather *gather, forget func(string, error)) []error {
	for i := range b.records {
		if b.refused == nil || b.refused[i] == nil {
			b.records[i].Context = b
			b.sent = append(b.sent, &b.records[i])
		}
	}
	b.left = len(b.sent)
	if b.left == 0 {
		return b.refused
	}
	room := gather.room
	if err := room.take(ctx, b.deadline, b.left); err != nil {
		return b.unsent(fmt.Errorf("the buffer is full: %w", err))
	}
	gathered := len(b.sent) < crowdBatch && gather.add(b, room.crowded())
	if !gathered {
		b.kept = true // by the timer
		go func() {
			defer room.give(len(b.sent))
			b.answered(client.ProduceSync(b, b.sent...)...)
		}()
		defer time.AfterFunc(time.Until(b.deadline), b.expire).Stop()
	}
	end := context.DeadlineExceeded
	if done := ctx.Done(); done == nil {
		<-b.ended // cheaper alone
	} else {
		select {
		case <-b.ended:
		case <-done:
			end = context.Cause(ctx)
		}
	}
	if gathered && !b.whole() && gather.withdraw(b) {
		return b.unsent(end)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left > 0 {
		b.kept = true // by the sender, which has yet to answer
		return b.merge(func(i int) error {
			if b.known != nil && b.known[i] {
				return b.outcome(i)
			}
			return fmt.Errorf("kafkabus: publish to %q: %w: %w", b.topic, ErrUnknown, end)
		})
	}
	if b.errs == nil {
		return b.refused
	}
	for _, err := range b.errs {
		if missing(err) {
			forget(b.topic, err)
			break
		}
	}
	return b.merge(b.outcome)
}

func (b *batch) unsent(err error) []error {
	return b.merge(func(int) error { return notSent(b.topic, err) })
}

// outcome is what an answered record's message gets. It is called with mu held.
func (b *batch) outcome(i int) error {
	if b.errs == nil {
		return nil
	}
	return published(b.topic, b.errs[i])
}

// whole reports whether all is answered.
func (b *batch) whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left == 0
}

// heard reports whether something is known of a record.
func (b *batch) heard() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known != nil
}

// part makes a batch end when all of its records are known, and gives back the
// room of each that is, instead of when all of the request are answered.
func (b *batch) part(room *room) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alone, b.kept = room, true // the client is not done with the records then
	for _, known := range b.known {
		if known {
			room.give(1)
		}
	}
	if b.settled() {
		signal(b.ended)
	}
}

// over reports whether nobody waits for a batch that was parted.
func (b *batch) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settled()
}

// settled reports whether every record's outcome is known. It is called with mu
// held.
func (b *batch) settled() bool {
	for i := range b.records {
		if (b.refused == nil || b.refused[i] == nil) && (b.known == nil || !b.known[i]) {
			return false
		}
	}
	return true
}

// expire ends the wait for what is not answered.
func (b *batch) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left > 0 {
		signal(b.ended)
	}
}

func (b *batch) answered(results ...kgo.ProduceResult) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left -= len(results); b.left == 0 {
		defer signal(b.ended)
	}
	for _, r := range results {
		if r.Err != nil || b.alone != nil { // else nobody asks
			b.learn(r.Record, r.Err)
		}
	}
}

// learn notes the outcome of a record. It is called with mu held.
func (b *batch) learn(r *kgo.Record, err error) {
	// Outcomes come in the order of the records, partition by partition.
	n := len(b.records)
	for step := range n {
		i := (b.last + step) % n
		if &b.records[i] != r {
			continue
		}
		if b.known == nil {
			b.known = b.sole.known[:]
			if n > 1 {
				b.known = make([]bool, n)
			}
		}
		news := !b.known[i]
		b.known[i], b.last = true, i
		if err != nil {
			if b.errs == nil {
				b.errs = make([]error, n)
			}
			b.errs[i] = err
		}
		if b.alone != nil && news {
			b.alone.give(1)
			if b.settled() {
				signal(b.ended)
			}
		}
		return
	}
}

// merge returns an error, or nil, for each message; nil when there is no error.
func (b *batch) merge(sent func(i int) error) []error {
	errs, failed := make([]error, len(b.records)), false
	for i := range errs {
		if b.refused != nil && b.refused[i] != nil {
			errs[i] = b.refused[i]
		} else {
			errs[i] = sent(i)
		}
		failed = failed || errs[i] != nil
	}
	if !failed {
		return nil // the last one was confirmed as the time ended
	}
	return errs
}

// room bounds what is given to the client and not answered, below the bound at
// which the client would block without looking at the caller's context. A
// batch that is larger than all of it gets it alone.
type room struct {
	size int

	mu      sync.Mutex
	taken   int
	waiting bool
	freed   chan struct{} // closed and made anew when room is given back to who waits
}

// crowded reports whether many messages of others are under way.
func (r *room) crowded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken >= crowd
}

func newRoom(size int) *room {
	return &room{size: max(size, 1), freed: make(chan struct{})}
}

func (r *room) take(ctx context.Context, deadline time.Time, n int) error {
	freed := r.try(n)
	if freed == nil {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for ; freed != nil; freed = r.try(n) {
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// try returns nil when it has taken room for n, and otherwise what is closed when
// there may be some.
func (r *room) try(n int) (freed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken+n <= r.size || r.taken == 0 {
		r.taken += n
		return nil
	}
	r.waiting = true
	return r.freed
}

func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken -= n
	if r.waiting {
		r.waiting = false
		close(r.freed)
		r.freed = make(chan struct{})
	}
}
