package redisbus

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/eventbus/internal/msgctx"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/internal/lanes"
)

// subscription is one Subscribe call. Its goroutines: the reader, which alone
// reads, claims and watches; Concurrency workers, which hand out messages and
// wait for their acks; the acker; the heartbeat; and run, which owns them all.
type subscription struct {
	cfg      SubscriberConfig
	topic    string
	consumer string
	log      *slog.Logger
	stats    *counters

	out    chan *message.Message
	handle func(*message.Message) error // instead of out, when the bus offered it
	lanes  *lanes.Lanes[*entry]
	table  *inflight
	acks   *acker
	read   *reader

	ackState transport.State
	ending   *transport.Ending

	// live is the parent of the messages' contexts: with the values of that of
	// Subscribe, and ended by the drain alone.
	live context.Context //nolint:containedctx // see above
	kill context.CancelCauseFunc

	finished atomic.Int64 // settled by a handler since the drain began
}

func (s *Subscriber) newSubscription(ctx context.Context, topic, consumer string) *subscription {
	sub := &subscription{
		cfg: s.cfg, topic: topic, consumer: consumer, stats: s.stats,
		log:      s.cfg.Logger.With("topic", topic, "group", s.cfg.ConsumerGroup, "consumer", consumer),
		out:      make(chan *message.Message),
		lanes:    lanes.New[*entry](s.cfg.Concurrency),
		table:    newInflight(s.cfg.MaxInFlight),
		ackState: transport.State{What: "acknowledging"},
		ending:   transport.NewEnding(s.cfg.DrainTimeout),
	}
	sub.live, sub.kill = context.WithCancelCause(context.WithoutCancel(ctx))
	sub.handle = direct.Take(ctx)
	sub.acks = newAcker(sub)
	sub.read = newReader(sub)
	return sub
}

// start begins the work; ended is called when it is over, before the ending says so.
func (s *subscription) start(ended func()) {
	go func() {
		defer s.ending.End()
		defer ended()
		s.run()
	}()
}

// run starts everybody, waits for the drain to begin, and carries it out.
func (s *subscription) run() {
	s.log.Debug("subscription started")
	intake, stopIntake := context.WithCancel(context.Background())
	defer stopIntake()
	go s.read.run(intake)

	workers := transport.StartWorkers(s.cfg.Concurrency, s.ending.Abandon, s.log, s.work, s.exited)

	stopAcks := upkeep(s.acks.run)
	stopHeartbeat := upkeep(s.heartbeat)

	<-s.ending.Stopping
	stopIntake()
	report := s.drain(workers.Idle(), stopHeartbeat, stopAcks)
	s.kill(context.Canceled)
	close(s.out)
	s.log.Debug("subscription ended", "finished", report.Finished, "handed_back", report.HandedBack)
}

// upkeep starts what runs until it is stopped. To stop waits for its end, or for
// the end of hard: when the server hangs, it ends by the client's time-outs.
func upkeep(run func(ctx context.Context)) (stop func(hard context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx)
	}()
	return func(hard context.Context) {
		cancel()
		select {
		case <-ended:
		case <-hard.Done():
		}
	}
}

// work hands out one message after the other.
func (s *subscription) work(w *transport.Worker) {
	for {
		key, e, ok := s.lanes.Take()
		if !ok {
			return
		}
		if e.over {
			s.bury(e)
		} else if !s.deliver(w, e) {
			return
		}
		s.lanes.Done(key)
	}
}

// exited does what follows on a handler that ended the worker's goroutine. The
// bus has then dealt with the entry, or its context has ended: it is left to the
// drain.
func (s *subscription) exited(task any, ok bool) {
	e := task.(*entry)
	e.ctx.End()
	if ok {
		s.settle(e, acked)
	}
	s.lanes.Done(e.delivery.Key)
}

// deliver returns when the entry is handled, or when the drain leaves it; false
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
			s.settle(e, acked)
		}
		if how != nacked {
			return true
		}
		s.stats.nacked.Add(1)
		e.run.outcome(nacked)
		e.run = nil
		// Only what is not leat's own nacks here. A pause, so that a broken handler
		// does not take a processor for itself; in memory, so that the key waits.
		if !s.ending.Pause(s.cfg.NackDelay) {
			return true
		}
		msg, ctx = msg.Copy(), new(msgctx.Context)
	}
}

// hand gives the message to the handler and waits for it: acked, nacked, or
// handedBack when a drain came first.
func (s *subscription) hand(w *transport.Worker, e *entry, msg *message.Message) (how outcome, here bool) {
	if s.handle != nil {
		if s.ending.IsStopping() {
			return handedBack, true
		}
		s.stats.delivered.Add(1)
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
	}
	s.stats.delivered.Add(1)
	select {
	case <-msg.Acked():
		return acked, true
	case <-msg.Nacked():
		return nacked, true
	case <-s.ending.Abandon:
		return handedBack, true
	}
}

// settle notes that the entry is done with, and has it acknowledged.
func (s *subscription) settle(e *entry, how outcome) {
	if s.ending.IsStopping() {
		s.finished.Add(1)
	}
	byMiddleware, hurry := s.table.settle(e)
	if byMiddleware {
		how = buried
	}
	e.run.outcome(how)
	e.run = nil
	s.acks.add(e, hurry)
}

// admit puts entries into the table and the lanes, in their order.
func (s *subscription) admit(batch []*entry) {
	s.table.add(batch)
	// False once the drain has begun: then the table hands the entries back.
	s.lanes.AddAll(batch, (*entry).key)
}
