package kafkabus

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// batch is the records of one PublishBatch. The client writes into them after
// the caller may have left, so that what it reports is kept apart from what the
// caller sees.
type batch struct {
	topic   string
	records []kgo.Record
	refused []error // before sending; nil: none
	n       int     // of the refused
	sent    []*kgo.Record

	mu      sync.Mutex
	left    int     // not answered
	errs    []error // as the client reports them; nil: none yet
	known   []bool  // which are answered; nil: none yet
	last    int     // of them, where the search for the next begins
	answers chan struct{}
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

func newBatch(topic string, n int) *batch {
	return &batch{topic: topic, records: make([]kgo.Record, n), answers: make(chan struct{})}
}

func (b *batch) refuse(i int, err error) {
	if b.refused == nil {
		b.refused = make([]error, len(b.records))
	}
	b.refused[i] = err
	b.n++
}

// send hands the records to the client and waits for the answers, or for the
// end of ctx. The client gets a context that never ends: it looks at the first
// of a partition's contexts only, and would fail everybody's records with it.
func (b *batch) send(ctx context.Context, client *kgo.Client, gather *gather, forget func(string, error)) []error {
	live := context.WithValue(context.WithoutCancel(ctx), batchKey{}, b)
	b.sent = make([]*kgo.Record, 0, len(b.records)-b.n)
	for i := range b.records {
		if b.refused == nil || b.refused[i] == nil {
			b.records[i].Context = live
			b.sent = append(b.sent, &b.records[i])
		}
	}
	b.left = len(b.sent)
	if b.left == 0 {
		return b.refused
	}
	room := gather.room
	if err := room.take(ctx, b.left); err != nil {
		return b.unsent(fmt.Errorf("the buffer is full: %w", err))
	}
	gathered := len(b.sent) < crowdBatch && gather.add(b, room.crowded())
	if !gathered {
		go func() {
			defer room.give(len(b.sent))
			b.answered(client.ProduceSync(live, b.sent...)...)
		}()
	}
	select {
	case <-b.answers:
	case <-ctx.Done():
		if gathered && gather.withdraw(b) {
			return b.unsent(context.Cause(ctx))
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left > 0 {
		return b.merge(func(i int) error {
			if b.known != nil && b.known[i] {
				return b.outcome(i)
			}
			return fmt.Errorf("kafkabus: publish to %q: %w: %w", b.topic, ErrUnknown, context.Cause(ctx))
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

func (b *batch) answered(results ...kgo.ProduceResult) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left -= len(results); b.left == 0 {
		defer close(b.answers)
	}
	for _, r := range results {
		if r.Err != nil {
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
			b.known = make([]bool, n)
		}
		b.known[i], b.last = true, i
		if err != nil {
			if b.errs == nil {
				b.errs = make([]error, n)
			}
			b.errs[i] = err
		}
		return
	}
}

// merge returns an error, or nil, for each message.
func (b *batch) merge(sent func(i int) error) []error {
	errs := make([]error, len(b.records))
	for i := range errs {
		if b.refused != nil && b.refused[i] != nil {
			errs[i] = b.refused[i]
		} else {
			errs[i] = sent(i)
		}
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

func (r *room) take(ctx context.Context, n int) error {
	for {
		r.mu.Lock()
		if r.taken+n <= r.size || r.taken == 0 {
			r.taken += n
			r.mu.Unlock()
			return nil
		}
		freed := r.freed
		r.waiting = true
		r.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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
