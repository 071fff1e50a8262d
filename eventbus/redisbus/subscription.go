package redisbus

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

// subscription is one Subscribe call. Its goroutines: the reader, which alone
// reads, claims and watches; Concurrency workers, which hand out messages and
// wait for their acks; the acker; the heartbeat; and run, which owns them all.
type subscription struct {
	cfg      SubscriberConfig
	topic    string
	consumer string
	log      *slog.Logger
	stats    *counters

	out   chan *message.Message
	lanes *lanes.Lanes[*entry]
	table *inflight
	acks  *acker
	read  *reader

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

	var workers sync.WaitGroup
	for range s.cfg.Concurrency {
		workers.Go(s.work)
	}
	idle := make(chan struct{})
	go func() {
		workers.Wait()
		close(idle)
	}()

	upkeep, stopUpkeep := context.WithCancel(context.Background())
	defer stopUpkeep()
	var keepers sync.WaitGroup
	keepers.Go(func() { s.acks.run(upkeep) })
	keepers.Go(func() { s.heartbeat(upkeep) })
	kept := make(chan struct{})
	go func() {
		keepers.Wait()
		close(kept)
	}()

	<-s.ending.Stopping
	stopIntake()
	report := s.drain(idle, func(hard context.Context) {
		stopUpkeep()
		select {
		case <-kept:
		case <-hard.Done(): // the server hangs; they end by the client's time-outs
		}
	})
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
		if e.over {
			s.bury(e)
		} else {
			s.deliver(e)
		}
		s.lanes.Done(key)
	}
}

// deliver returns when the entry is handled, or when the drain leaves it.
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
	}
	s.stats.delivered.Add(1)
	select {
	case <-msg.Acked():
		s.settle(e, acked)
		return false
	case <-msg.Nacked():
		s.stats.nacked.Add(1)
		e.run.outcome(nacked)
		e.run = nil
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
		return true
	case <-s.ending.Stopping:
		return false
	}
}

// settle notes that the entry is done with, and has it acknowledged.
func (s *subscription) settle(e *entry, how outcome) {
	select {
	case <-s.ending.Stopping:
		s.finished.Add(1)
	default:
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
	for _, e := range batch {
		// False once the drain has begun: then the table hands the entry back.
		s.lanes.Add(e.delivery.Key, e)
	}
}
