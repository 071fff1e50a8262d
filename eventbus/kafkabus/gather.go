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

// gather puts the small calls of a crowd of publishers together: while one
// request is under way the next one fills. One request a message would be what
// the brokers do most of the time.
type gather struct {
	client *kgo.Client
	room   *room
	linger time.Duration // how long those who were just answered may take to come again

	mu    sync.Mutex
	queue []*batch
	busy  bool          // run is at work
	want  int           // how many calls to wait for; 0: for none
	full  chan struct{} // one token: there are as many
}

func newGather(client *kgo.Client, room *room) *gather {
	linger, _ := client.OptValue(kgo.ProducerLinger).(time.Duration)
	return &gather{client: client, room: room, linger: linger, full: make(chan struct{}, 1)}
}

// add takes a call over, or reports false when it is alone.
func (g *gather) add(b *batch, crowded bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.busy && !crowded {
		return false
	}
	g.queue = append(g.queue, b)
	if len(g.queue) == g.want {
		signal(g.full)
	}
	if !g.busy {
		g.busy = true
		go g.run()
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

// run sends until nobody comes any more.
func (g *gather) run() {
	timer := time.NewTimer(g.linger)
	defer timer.Stop()
	for {
		calls := g.next()
		if calls == nil {
			return
		}
		var records []*kgo.Record
		for _, b := range calls {
			records = append(records, b.sent...)
		}
		for _, result := range g.client.ProduceSync(context.Background(), records...) {
			if b, ok := result.Record.Context.Value(batchKey{}).(*batch); ok {
				b.answered(result)
			}
		}
		g.room.give(len(records))
		g.expect(len(calls))
		timer.Reset(g.linger)
		select {
		case <-g.full:
		case <-timer.C:
		}
	}
}

// expect makes full tell when as many calls have come as are there, and as many
// more as were just answered.
func (g *gather) expect(more int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.want = len(g.queue) + more
	select {
	case <-g.full: // of the last round
	default:
	}
}

// next returns the calls that have come; nil when there are none, and run is to
// end.
func (g *gather) next() []*batch {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := g.queue
	g.queue = nil
	if len(calls) == 0 {
		g.busy = false
		return nil
	}
	g.want = 0
	return calls
}
