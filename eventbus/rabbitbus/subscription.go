package rabbitbus

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/eventbus/internal/msgctx"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/internal/lanes"
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
	handle func(*message.Message) error // instead of out, when the bus offered it
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
		handle: direct.Take(ctx),
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

	workers := transport.StartWorkers(s.cfg.Concurrency, s.ending.Abandon, s.log, s.work, s.exited)

	<-s.ending.Stopping
	stopIntake()
	report := s.drain(workers.Idle(), consumed)
	s.kill(context.Canceled)
	close(s.out)
	s.log.Debug("subscription ended", "finished", report.Finished, "handed_back", report.HandedBack)
}

// work hands out one message after the other.
func (s *subscription) work(w *transport.Worker) {
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
			if !s.deliver(w, e) {
				return
			}
		}
		s.lanes.Done(key)
	}
}

// exited does what follows on a handler that ended the worker's goroutine. The
// bus has then dealt with the message, or its context has ended: it is left to
// the drain.
func (s *subscription) exited(task any, ok bool) {
	e := task.(*entry)
	e.ctx.End()
	if ok {
		s.settle(e)
	}
	s.lanes.Done(e.delivery.Key)
}

// deliver returns when the message is handled, or when the drain leaves it; false
// when the drain left the worker.
func (s *subscription) deliver(w *transport.Worker, e *entry) bool {
	msg, ctx := e.msg, &e.ctx
	for {
		ctx.Begin(s.live, &e.delivery)
		msg.SetContext(ctx)
		how, here := s.hand(w, e, msg)
		ctx.End()
		if !here {
			return false
		}
		if how == acked {
			s.settle(e)
		}
		if how != nacked {
			return true
		}
		s.stats.nacked.Add(1)
		// Only what is not leat's own nacks here. A pause, so that a broken handler
		// does not take a processor for itself; in memory, so that the key waits.
		if !s.ending.Pause(s.cfg.NackDelay) || e.sess.isLost() {
			return true
		}
		msg, ctx = msg.Copy(), new(msgctx.Context)
	}
}

// outcome is what a handler made of a message.
type outcome int

const (
	acked outcome = iota
	nacked
	handedBack // it never had it, or was left behind with it
)

// hand gives the message to the handler and waits for it.
func (s *subscription) hand(w *transport.Worker, e *entry, msg *message.Message) (how outcome, here bool) {
	if s.handle != nil {
		if s.ending.IsStopping() || e.sess.isLost() {
			return handedBack, true
		}
		s.stats.delivered.Add(1)
		s.busy.Add(1)
		defer s.busy.Add(-1)
		ok, here := w.Call(s.handle, msg, e)
		if ok {
			return acked, here
		}
		return nacked, here
	}
	select {
	case s.out <- msg:
	case <-s.ending.Stopping:
		return handedBack, true
	case <-e.sess.lost: // nobody took it yet
		return handedBack, true
	}
	s.stats.delivered.Add(1)
	s.busy.Add(1)
	defer s.busy.Add(-1)
	select {
	case <-msg.Acked():
		return acked, true
	case <-msg.Nacked():
		return nacked, true
	case <-s.ending.Abandon:
		return handedBack, true
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
	if s.ending.IsStopping() {
		s.finished.Add(1)
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
