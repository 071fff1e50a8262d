package redisbus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// maxAckPause bounds the pause between attempts. Acks wait less than a reader:
// only while it is connected do they try at all.
const maxAckPause = 200 * time.Millisecond

// acker sends acknowledgements, as many as there are in one XACK. The first of
// a batch waits at most delay for company; with nothing left to handle it does
// not wait at all.
type acker struct {
	s     *subscription
	delay time.Duration
	batch int

	mu     sync.Mutex
	queue  []*entry
	closed bool
	first  chan struct{} // one token: the queue is not empty any more
	now    chan struct{} // one token: do not wait
	ended  chan struct{}
}

func newAcker(s *subscription) *acker {
	return &acker{
		s: s, delay: s.cfg.AckDelay, batch: max(1, min(s.cfg.BatchSize, s.cfg.MaxInFlight/2)),
		first: make(chan struct{}, 1), now: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// add queues the ack of e. It does not block.
func (a *acker) add(e *entry, hurry bool) {
	a.mu.Lock()
	a.queue = append(a.queue, e)
	n := len(a.queue)
	a.mu.Unlock()
	if n == 1 {
		signal(a.first)
	}
	if hurry || n >= a.batch {
		signal(a.now)
	}
}

// close lets run send what is queued, and end.
func (a *acker) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	signal(a.first)
	signal(a.now)
}

// run sends until close was called and nothing is queued, or ctx ends.
func (a *acker) run(ctx context.Context) {
	defer close(a.ended)
	timer := time.NewTimer(a.delay)
	defer timer.Stop()
	for {
		select {
		case <-a.first:
		case <-ctx.Done():
			return
		}
		timer.Reset(a.delay)
		select {
		case <-a.now:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if !a.flush(ctx) {
			return
		}
	}
}

// flush sends until the queue is empty, and reports whether run goes on.
func (a *acker) flush(ctx context.Context) bool {
	for {
		a.mu.Lock()
		batch, closed := a.queue, a.closed
		a.queue = nil
		a.mu.Unlock()
		if len(batch) == 0 {
			return !closed
		}
		if !a.send(ctx, batch) {
			return false
		}
	}
}

// send tries until the server has confirmed; ctx alone ends that, because an
// ack that is given up makes finished work happen again.
func (a *acker) send(ctx context.Context, batch []*entry) bool {
	args := make([]string, len(batch))
	for i, e := range batch {
		args[i] = e.delivery.ID
	}
	pause := transport.Backoff{Most: maxAckPause}
	for {
		if a.s.read.away.Load() { // it tells, and asks, once for all
			if !pause.Wait(ctx) {
				return false
			}
			continue
		}
		err := a.s.cfg.Client.XAck(ctx, a.s.topic, a.s.cfg.ConsumerGroup, args...).Err()
		if err == nil {
			a.s.table.remove(batch)
			a.s.stats.acked.Add(int64(len(batch)))
			a.s.ackState.Up(a.s.log)
			return true
		}
		if errors.Is(err, redis.ErrClosed) {
			// The owner of the client closed it first. There is no way to finish
			// anything any more, so nothing more is begun.
			a.s.log.Error("the client was closed under the subscription, which ends: what is finished is delivered again", "error", err)
			a.s.ending.Begin(context.Background())
			return false
		}
		if ctx.Err() != nil {
			return false
		}
		a.s.ackState.Down(a.s.log, refused(err))
		if !pause.Wait(ctx) {
			return false
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
