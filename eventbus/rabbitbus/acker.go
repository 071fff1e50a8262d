package rabbitbus

import (
	"sync"
	"time"
)

// acker sends acknowledgements: one for all that are settled in order, and
// singles for those behind a message that takes longer. The first of a batch
// waits at most delay for company, also when nothing is left to handle: a
// consumer that is faster than its broker would otherwise acknowledge each
// message alone, and slow it down. Half of that wait is for those before it,
// where several are handled at once.
type acker struct {
	s     *session
	delay time.Duration
	batch int // so many do not wait; fewer may be left for once

	sending sync.Mutex
	first   chan struct{} // one token: there is something to acknowledge
	now     chan struct{} // one token: do not wait
}

func newAcker(s *session) *acker {
	a := &acker{
		s: s, delay: s.sub.cfg.AckDelay, batch: max(1, s.sub.cfg.PrefetchCount/2),
		first: make(chan struct{}, 1), now: make(chan struct{}, 1),
	}
	if s.sub.cfg.Concurrency > 1 {
		a.delay /= 2
	}
	return a
}

// kick tells how many acks wait. It does not block.
func (a *acker) kick(waiting int) {
	if waiting == 1 {
		signal(a.first)
	}
	if waiting >= a.batch {
		signal(a.first)
		signal(a.now)
	}
}

// run sends until the session is lost.
func (a *acker) run() {
	timer := time.NewTimer(a.delay)
	defer timer.Stop()
	left := 0
	for {
		if left == 0 {
			select {
			case <-a.first:
			case <-a.s.lost:
				return
			}
		}
		timer.Reset(a.delay)
		select {
		case <-a.now:
		case <-timer.C:
		case <-a.s.lost:
			return
		}
		left = a.send(a.batch / 2)
	}
}

// flush sends what there is. AMQP confirms no acknowledgement: what is written
// to a connection that breaks comes again.
func (a *acker) flush() { a.send(0) }

// send sends what there is, except singles that may wait, spare at most, and
// returns how many those are.
func (a *acker) send(spare int) (left int) {
	a.sending.Lock()
	defer a.sending.Unlock()
	upTo, single, n, left := a.s.table.collect(spare)
	if n == 0 {
		return left
	}
	a.s.link.cork()
	defer a.s.link.uncork()
	// An error means that the channel is gone, which is told elsewhere.
	if upTo > 0 {
		if a.s.ch.Ack(upTo, true) != nil {
			return left
		}
	}
	for _, tag := range single {
		if a.s.ch.Ack(tag, false) != nil {
			return left
		}
	}
	a.s.sub.stats.acked.Add(int64(n))
	return left
}
