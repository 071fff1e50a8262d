package rabbitbus

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/internal/lanes"
	"github.com/leat-go/leat/middleware"
)

// subscription is one Subscribe call. Its goroutines: consume, which keeps one
// session after the other and alone takes messages in; Concurrency workers,
// which hand them out and wait for their acks; the acker of the session; and
// run, which owns them all.
type subscription struct {
	cfg   SubscriberConfig
	topic string
	queue string
	keyed bool // routing keys mean something on the exchange
	log   *slog.Logger
	stats *counters
	state transport.State

	out    chan *message.Message
	lanes  *lanes.Lanes[*entry]
	ending *transport.Ending

	plan *plan

	sessMu  sync.Mutex
	session *session // the live one; nil between two

	past past // what is known of lost sessions

	// live is the parent of the messages' contexts: with the values of that of
	// Subscribe, and ended by the drain alone.
	live context.Context //nolint:containedctx // see above
	kill context.CancelCauseFunc

	finished atomic.Int64 // settled by a handler since the drain began
	busy     atomic.Int64 // in a handler's hands
}

func (s *Subscriber) newSubscription(ctx context.Context, topic string) *subscription {
	t := s.cfg.Topology
	sub := &subscription{
		cfg: s.cfg, topic: topic, queue: QueueName(topic, s.cfg.ConsumerGroup), stats: s.stats,
		keyed:  t.ExchangeType == ExchangeTopic || t.ExchangeType == ExchangeDirect,
		log:    s.cfg.Logger.With("topic", topic, "group", s.cfg.ConsumerGroup, "consumer", s.cfg.ConsumerName),
		state:  transport.State{What: "consuming"},
		out:    make(chan *message.Message),
		lanes:  lanes.New[*entry](s.cfg.Concurrency),
		plan:   s.planOf(topic),
		past:   newPast(4 * s.cfg.PrefetchCount),
		ending: transport.NewEnding(s.cfg.DrainTimeout),
	}
	sub.live, sub.kill = context.WithCancelCause(context.WithoutCancel(ctx))
	return sub
}

// start begins the work; ended is called when it is over, before the ending says so.
func (s *subscription) start(first *session, ended func()) {
	go func() {
		defer s.ending.End()
		defer ended()
		s.run(first)
	}()
}

// run starts everybody, waits for the drain to begin, and carries it out.
func (s *subscription) run(first *session) {
	s.log.Debug("subscription started")
	intake, stopIntake := context.WithCancel(context.Background())
	defer stopIntake()
	consumed := make(chan struct{})
	go func() {
		defer close(consumed)
		s.consume(intake, first)
	}()

	var workers sync.WaitGroup
	for range s.cfg.Concurrency {
		workers.Go(s.work)
	}
	idle := make(chan struct{})
	go func() {
		workers.Wait()
		close(idle)
	}()

	<-s.ending.Stopping
	stopIntake()
	report := s.drain(idle, consumed)
	s.kill(context.Canceled)
	close(s.out)
	s.log.Debug("subscription ended", "finished", report.Finished, "handed_back", report.HandedBack)
}

// work hands out one message after the other.
func (s *subscription) work() {
	for {
		key, e, ok := s.lanes.Take()
		if !ok {
			return
		}
		switch {
		case e.sess.isLost():
			// The broker delivers it again.
		case e.again && s.past.finished(e):
			// Handled here already, perhaps while this one waited for its key's
			// turn; only its ack was lost.
			s.stats.repeated.Add(1)
			s.settle(e)
		case e.over:
			s.bury(e)
		default:
			s.deliver(e)
		}
		s.lanes.Done(key)
	}
}

// deliver returns when the message is handled, or when the drain leaves it.
func (s *subscription) deliver(e *entry) {
	msg := e.msg
	for {
		ctx, end := context.WithCancel(s.live)
		msg.SetContext(middleware.WithDelivery(ctx, &e.delivery))
		again := s.offer(e, msg)
		end()
		if !again {
			return
		}
		msg = msg.Copy()
	}
}

// offer delivers once, and reports whether to do so again.
func (s *subscription) offer(e *entry, msg *message.Message) (again bool) {
	select {
	case s.out <- msg:
	case <-s.ending.Stopping:
		return false
	case <-e.sess.lost: // nobody took it yet
		return false
	}
	s.stats.delivered.Add(1)
	s.busy.Add(1)
	defer s.busy.Add(-1)
	select {
	case <-msg.Acked():
		s.settle(e)
		return false
	case <-msg.Nacked():
		s.stats.nacked.Add(1)
	case <-s.ending.Abandon:
		return false
	}
	select {
	case <-s.ending.Stopping:
		return false
	default:
	}
	// Only what is not leat's own nacks here. A pause, so that a broken handler
	// does not take a processor for itself; in memory, so that the key waits.
	timer := time.NewTimer(s.cfg.NackDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !e.sess.isLost()
	case <-s.ending.Stopping:
		return false
	}
}

// settle notes that the message is done with, and has it acknowledged.
func (s *subscription) settle(e *entry) {
	if !e.sess.settle(e) {
		// Its channel is gone, the broker delivers it again: remembered, so that
		// it is not handled again here.
		s.past.finish(e)
		s.stats.voided.Add(1)
		return
	}
	select {
	case <-s.ending.Stopping:
		s.finished.Add(1)
	default:
	}
}

func (s *subscription) current() *session {
	s.sessMu.Lock()
	defer s.sessMu.Unlock()
	return s.session
}

func (s *subscription) inFlight() int {
	if sess := s.current(); sess != nil {
		n, _ := sess.table.len()
		return n
	}
	return 0
}
