package kafkabus

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// crowd is from how many messages under way on small calls share requests.
	crowd = 8

	// crowdBatch is what a small call is: larger ones are a request of their own.
	crowdBatch = 8
)

// gather puts the small calls of a crowd of publishers together: while requests
// are under way the next one fills. One request a message would be what the
// brokers do most of the time.
type gather struct {
	client *kgo.Client
	room   *room
	linger time.Duration // how long those who were just answered may take to come again
	spare  sync.Pool     // batches of one message

	mu      sync.Mutex
	queue   []*batch
	size    int // of the last request that was sent from the queue
	came    int // calls that were ever added
	senders []*sender
	late    []*batch    // of requests that nobody waits for as a whole any more
	watch   *time.Timer // for the earliest deadline; nil: there is none to come
	watched time.Time   // that deadline
}

// sender is a goroutine in send.
type sender struct {
	calls   []*batch      // under way
	records []*kgo.Record // of the calls
	company int           // how many calls shall have been added before it goes on; 0: it does not wait
	full    chan struct{} // one token: they have
}

// batch returns one for n messages.
func (g *gather) batch(n int) *batch {
	if n == 1 {
		if b, ok := g.spare.Get().(*batch); ok {
			return b
		}
	}
	return newBatch(n)
}

// recycle takes a batch back of which all is confirmed.
func (g *gather) recycle(b *batch) {
	if len(b.records) == 1 && !b.kept && cap(b.encoder.bytes) <= maxRoom {
		b.reset()
		g.spare.Put(b)
	}
}

func newGather(client *kgo.Client, room *room) *gather {
	linger, _ := client.OptValue(kgo.ProducerLinger).(time.Duration)
	return &gather{client: client, room: room, linger: linger}
}

// add takes a call over, or reports false when it is alone.
func (g *gather) add(b *batch, crowded bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.senders) == 0 && !crowded {
		return false
	}
	g.queue = append(g.queue, b)
	g.came++
	for _, s := range g.senders {
		if s.company == g.came {
			signal(s.full)
		}
	}
	// Two requests in turn: while the brokers have one, the other is filled.
	if n := len(g.senders); n == 0 || n == 1 && len(g.queue) >= max(crowd, g.size/2) {
		s := &sender{full: make(chan struct{}, 1)}
		g.senders = append(g.senders, s)
		go g.send(s)
	}
	if g.watch == nil || b.deadline.Before(g.watched) { // it waited for its topic, or for room
		g.await(b.deadline)
	}
	return true
}

// await has expire called at a deadline, instead of any other. It is called with
// mu held.
func (g *gather) await(deadline time.Time) {
	if g.watch != nil {
		g.watch.Stop()
	}
	g.watch, g.watched = time.AfterFunc(time.Until(deadline), g.expire), deadline
}

// expire ends the calls whose deadline has passed. One timer for all: one a call
// would cost as much as its record.
func (g *gather) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late = slices.DeleteFunc(g.late, (*batch).over)
	all := slices.Concat(g.queue, g.late)
	for _, s := range g.senders {
		all = append(all, s.calls...)
	}
	now, next := time.Now(), time.Time{}
	for _, b := range all {
		if !b.deadline.After(now) {
			b.expire()
		} else if next.IsZero() || b.deadline.Before(next) {
			next = b.deadline
		}
	}
	if !next.IsZero() {
		g.await(next)
	} else {
		g.watch = nil
	}
}

// withdraw takes a call back, and reports false when it is sent already.
func (g *gather) withdraw(b *batch) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, b)
	if i < 0 {
		return false
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	g.room.give(b.left)
	return true
}

// send sends until nobody comes any more.
func (g *gather) send(s *sender) {
	timer := time.NewTimer(g.linger)
	defer timer.Stop()
	for g.next(s) {
		answers, records := make(chan kgo.ProduceResults, 1), s.records
		go func() { answers <- g.client.ProduceSync(context.Background(), records...) }()
		results := g.answer(s, timer, answers)
		if results == nil {
			go func() { settle(<-answers) }() // each record gives its own room back
			continue
		}
		g.expect(s)
		settle(results)
		g.room.give(len(results))
		timer.Reset(g.linger)
		select {
		case <-s.full:
		case <-timer.C:
		}
	}
}

const (
	// unevenAfter is how long the answers of one request may be apart.
	unevenAfter = 100 * time.Millisecond

	// silentAfter is how long the next request waits while none of them comes. It
	// may be for partitions that have a leader; but if none has, what is not sent
	// can be told to be so.
	silentAfter = 3 * time.Second
)

// answer waits for the answers to all of a request, or returns nil when the next
// is not to wait for them: a partition without a leader holds up no other.
func (g *gather) answer(s *sender, timer *time.Timer, answers <-chan kgo.ProduceResults) kgo.ProduceResults {
	for waited := unevenAfter; ; waited += unevenAfter {
		timer.Reset(unevenAfter)
		select {
		case results := <-answers:
			return results
		case <-timer.C:
			if g.part(s, waited >= silentAfter) {
				return nil
			}
		}
	}
}

// part lets each call end by itself, if one can or anyway, and reports that.
func (g *gather) part(s *sender, anyway bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !anyway && !slices.ContainsFunc(s.calls, (*batch).heard) {
		return false
	}
	for _, b := range s.calls {
		b.part(g.room)
	}
	g.late = append(slices.DeleteFunc(g.late, (*batch).over), s.calls...)
	s.calls, s.records = nil, nil
	return true
}

// settle answers the calls. From then on they are their callers' again.
func settle(results kgo.ProduceResults) {
	for _, result := range results {
		if b, ok := result.Record.Context.Value(batchKey{}).(*batch); ok {
			b.answered(result)
		}
	}
}

// expect makes the sender's company full when three calls have come for four that
// are about to be answered: the last ones straggle.
func (g *gather) expect(s *sender) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-s.full: // of the last round
	default:
	}
	s.company = g.came + max(1, len(s.calls)*3/4)
	clear(s.calls)
	s.calls = s.calls[:0]
}

// next gives the sender the calls that have come. With none it reports false, and
// the sender is to end.
func (g *gather) next(s *sender) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.company = 0
	clear(s.records)
	s.records = s.records[:0]
	s.calls, g.queue = g.queue, s.calls
	if len(s.calls) == 0 {
		g.senders = slices.DeleteFunc(g.senders, func(other *sender) bool { return other == s })
		return false
	}
	for _, b := range s.calls {
		s.records = append(s.records, b.sent...)
	}
	g.size = len(s.calls)
	return true
}
