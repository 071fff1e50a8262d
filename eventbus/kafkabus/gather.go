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

	mu      sync.Mutex
	queue   []*batch
	size    int        // of the last request that was sent from the queue
	came    int        // calls that were ever added
	senders int        // goroutines in send
	waiting []*awaited // of them, those that wait for company
}

// awaited is the company that a sender waits for.
type awaited struct {
	came int           // how many calls shall have been added
	full chan struct{} // one token: they have
}

func newGather(client *kgo.Client, room *room) *gather {
	linger, _ := client.OptValue(kgo.ProducerLinger).(time.Duration)
	return &gather{client: client, room: room, linger: linger}
}

// add takes a call over, or reports false when it is alone.
func (g *gather) add(b *batch, crowded bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.senders == 0 && !crowded {
		return false
	}
	g.queue = append(g.queue, b)
	g.came++
	for _, w := range g.waiting {
		if w.came == g.came {
			signal(w.full)
		}
	}
	// Two requests in turn: while the brokers have one, the other is filled.
	if g.senders == 0 || g.senders == 1 && len(g.queue) >= max(crowd, g.size/2) {
		g.senders++
		go g.send()
	}
	return true
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
func (g *gather) send() {
	company := &awaited{full: make(chan struct{}, 1)}
	timer := time.NewTimer(g.linger)
	defer timer.Stop()
	for {
		calls := g.next(company)
		if calls == nil {
			return
		}
		var records []*kgo.Record
		for _, b := range calls {
			records = append(records, b.sent...)
		}
		results := g.client.ProduceSync(context.Background(), records...)
		g.expect(company, len(calls))
		for _, result := range results {
			if b, ok := result.Record.Context.Value(batchKey{}).(*batch); ok {
				b.answered(result)
			}
		}
		g.room.give(len(records))
		timer.Reset(g.linger)
		select {
		case <-company.full:
		case <-timer.C:
		}
	}
}

// expect makes company full when as many calls have come as are about to be
// answered.
func (g *gather) expect(company *awaited, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-company.full: // of the last round
	default:
	}
	company.came = g.came + n
	g.waiting = append(g.waiting, company)
}

// next returns the calls that have come; nil when there are none, and the sender
// is to end.
func (g *gather) next(company *awaited) []*batch {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(w *awaited) bool { return w == company })
	calls := g.queue
	g.queue = nil
	if len(calls) == 0 {
		g.senders--
		return nil
	}
	g.size = len(calls)
	return calls
}
