package rabbitbus

import (
	"sync"
	"time"
)

// acker sends acknowledgements: one for all that are settled in order, and
// singles for those behind a message that takes longer. The first of a batch
// waits at most delay for company, also when nothing is left to handle: a
// consumer that is faster than its broker would otherwise acknowledge each
// message alone, and slow it down.
type acker struct {
	s     *session
	delay time.Duration
	batch int

	sending sync.Mutex
	first   chan struct{} // one token: there is something to acknowledge
	now     chan struct{} // one token: do not wait
}

func newAcker(s *session) *acker {
	return &acker{
		s: s, delay: s.sub.cfg.AckDelay, batch: max(1, s.sub.cfg.PrefetchCount/2),
		first: make(chan struct{}, 1), now: make(chan struct{}, 1),
	}
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
	for {
		select {
		case <-a.first:
		case <-a.s.lost:
			return
		}
		timer.Reset(a.delay)
		select {
		case <-a.now:
		case <-timer.C:
		case <-a.s.lost:
			return
		}
		a.flush()
	}
}

// flush sends what there is. AMQP confirms no acknowledgement: what is written
// to a connection that breaks comes again.
func (a *acker) flush() {
	a.sending.Lock()
	defer a.sending.Unlock()
	upTo, single, n := a.s.table.collect()
	if n == 0 {
		return
	}
	a.s.link.cork()
	defer a.s.link.uncork()
	// An error means that the channel is gone, which is told elsewhere.
	if upTo > 0 {
		if a.s.ch.Ack(upTo, true) != nil {
			return
		}
	}
	for _, tag := range single {
		if a.s.ch.Ack(tag, false) != nil {
			return
		}
	}
	a.s.sub.stats.acked.Add(int64(n))
}
