package kafkabus

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/internal/lanes"
	"github.com/leat-go/leat/middleware"
)

// subscription is one Subscribe call: one member of the group. Its goroutines:
// the poller, which alone reads; Concurrency workers, which hand out messages
// and wait for their acks; the committer; the client's own, which call when
// partitions come and go; and run, which owns them all.
type subscription struct {
	cfg    SubscriberConfig
	topic  string
	client *kgo.Client
	log    *slog.Logger
	stats  *counters

	out   chan *message.Message
	lanes *lanes.Lanes[*entry]
	table *table
	alone chan struct{} // held by the one entry that may be what kills processes

	commits   *committer
	readState transport.State
	joined    bool // the first assignment has come; used by the client's callbacks only

	// live is the parent of the partitions' contexts: with the values of that of
	// Subscribe, and ended by the drain alone.
	live context.Context //nolint:containedctx // see above
	kill context.CancelCauseFunc

	ending   *transport.Ending
	begins   sync.WaitGroup // goroutines that write that a partition was begun
	finished atomic.Int64   // settled by a handler since the drain began
}

// newSubscription makes the member; it joins the group when it is started.
func (s *Subscriber) newSubscription(ctx context.Context, topic, name string) (*subscription, error) {
	sub := &subscription{
		cfg: s.cfg, topic: topic, stats: s.stats,
		log:       s.cfg.Logger.With("topic", topic, "group", s.cfg.ConsumerGroup, "consumer", name),
		out:       make(chan *message.Message),
		lanes:     lanes.New[*entry](s.cfg.Concurrency),
		table:     newTable(),
		alone:     make(chan struct{}, 1),
		readState: transport.State{What: "reading"},
		ending:    transport.NewEnding(s.cfg.DrainTimeout),
	}
	sub.live, sub.kill = context.WithCancelCause(context.WithoutCancel(ctx))
	sub.commits = newCommitter(sub)
	opts := append(s.cfg.Client.Opts(), s.cfg.member(topic, name)...)
	opts = append(opts,
		kgo.WithHooks(s.stats),
		kgo.OnPartitionsAssigned(sub.assigned),
		kgo.OnOffsetsFetched(sub.offsetsFetched),
		kgo.OnPartitionsRevoked(sub.revoked),
		kgo.OnPartitionsLost(sub.lost),
	)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		sub.kill(err)
		return nil, err
	}
	sub.client = client
	return sub, nil
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
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		s.poll(intake)
	}()

	var workers sync.WaitGroup
	for range s.cfg.Concurrency {
		workers.Go(s.work)
	}
	idle := make(chan struct{})
	go func() {
		workers.Wait()
		<-polled
		s.begins.Wait()
		close(idle)
	}()
	upkeep, stopUpkeep := context.WithCancel(context.Background())
	defer stopUpkeep()
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.commits.run(upkeep)
	}()

	<-s.ending.Stopping
	stopIntake()
	report := s.drain(idle, func() {
		stopUpkeep()
		<-kept
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
		if s.table.begin(e) {
			s.handle(e)
			s.table.end(e)
		}
		s.lanes.Done(key)
	}
}

func (s *subscription) handle(e *entry) {
	if !e.careful && !e.over {
		s.deliver(e)
		return
	}
	// One at a time over all partitions: two that are under way when the
	// process dies could not be told apart.
	select {
	case s.alone <- struct{}{}:
	case <-e.p.limited:
		return
	}
	defer func() { <-s.alone }()
	switch {
	case e.over:
		s.bury(e)
	case s.commits.mark(e):
		s.deliver(e)
		// Before another one is begun: a mark that stays behind on finished work
		// would make it look like the culprit.
		s.commits.unmark(e.p)
	}
}

// deliver returns when the entry is handled, or when the drain or a rebalance
// takes it.
func (s *subscription) deliver(e *entry) {
	msg := e.msg
	for {
		ctx, end := context.WithCancel(e.p.live)
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
	case <-e.p.limited:
		if !s.table.needed(e) || !s.offerLate(e, msg) {
			return false
		}
	}
	s.table.handed(e)
	s.stats.delivered.Add(1)
	select {
	case <-msg.Acked():
		s.settle(e)
		return false
	case <-msg.Nacked():
		s.stats.nacked.Add(1)
	case <-s.ending.Abandon:
		return false
	case <-e.p.abandon:
		return false
	}
	// Only what is not leat's own nacks here. A pause, so that a broken handler
	// does not take a processor for itself; in memory, so that the key waits.
	timer := time.NewTimer(s.cfg.NackDelay)
	defer timer.Stop()
	select {
	case <-e.p.limited:
		return false
	case <-timer.C:
		return true
	}
}

// offerLate delivers what is before finished work.
func (s *subscription) offerLate(e *entry, msg *message.Message) bool {
	select {
	case s.out <- msg:
		return true
	case <-s.ending.Abandon:
	case <-e.p.abandon:
	case <-e.p.live.Done():
	}
	return false
}

// settle notes that the entry is done with, and has that committed.
func (s *subscription) settle(e *entry) {
	r := s.table.settle(e, s.cfg.MaxInFlight, s.cfg.MaxInFlightBytes)
	if !r.ours {
		return // another member has it again; what became of it here is nobody's business
	}
	s.stats.acked.Add(1)
	select {
	case <-s.ending.Stopping:
		s.finished.Add(1)
	default:
	}
	s.admit(r.next)
	if r.resume {
		s.client.ResumeFetchPartitions(map[string][]int32{s.topic: {e.p.id}})
	}
	s.commits.wake(r.idle)
}

// admit puts entries into the lanes, in their order.
func (s *subscription) admit(batch []*entry) {
	for _, e := range batch {
		// False once the drain has begun: it stays in its partition's window.
		s.lanes.Add(e.delivery.Key, e)
	}
}
