package kafkabus

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/eventbus/internal/msgctx"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/internal/lanes"
)

// subscription is one Subscribe call: one member of the group. Its goroutines:
// the poller, which alone reads; Concurrency workers, which hand out messages
// and wait for their acks; the committer; the client's own, which call when
// partitions come and go; and run, which owns them all.
type subscription struct {
	cfg    SubscriberConfig
	topic  string
	name   string // in the group
	client *kgo.Client
	cut    context.CancelFunc // ends what the client waits for
	log    *slog.Logger
	stats  *counters

	out     chan *message.Message
	handle  func(*message.Message) error // instead of out, when the bus offered it
	workers atomic.Pointer[transport.Workers]
	lanes   *lanes.Lanes[*entry]
	table   *table
	alone   chan struct{} // held by the one entry that may be what kills processes

	commits   *committer
	joining   joining
	topicID   [16]byte // as the offsets were fetched; guarded by the table's mutex
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
		cfg: s.cfg, topic: topic, name: name, stats: s.stats,
		log:       s.cfg.Logger.With("topic", topic, "group", s.cfg.ConsumerGroup, "consumer", name),
		out:       make(chan *message.Message),
		lanes:     lanes.New[*entry](s.cfg.Concurrency),
		table:     newTable(),
		alone:     make(chan struct{}, 1),
		readState: transport.State{What: "reading"},
		ending:    transport.NewEnding(s.cfg.DrainTimeout),
		handle:    direct.Take(ctx),
	}
	sub.live, sub.kill = context.WithCancelCause(context.WithoutCancel(ctx))
	sub.commits = newCommitter(sub)
	working, cut := context.WithCancel(context.WithoutCancel(ctx))
	sub.cut = cut
	opts := append(s.cfg.Client.Opts(), s.cfg.member(topic, name)...)
	opts = append(opts,
		kgo.WithContext(working),
		kgo.WithHooks(&links{log: sub.log, reconnections: &s.stats.reconnections, state: map[string]*transport.State{}}, &sub.joining),
		kgo.OnPartitionsAssigned(sub.assigned),
		kgo.OnOffsetsFetched(sub.offsetsFetched),
		kgo.OnPartitionsRevoked(sub.revoked),
		kgo.OnPartitionsLost(sub.lost),
	)
	if s.cfg.StartOffset == Latest {
		opts = append(opts, kgo.AdjustFetchOffsetsFn(sub.fixStart))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		sub.kill(err)
		cut()
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

	workers := transport.StartWorkers(s.cfg.Concurrency, s.ending.Abandon, s.log, s.work, s.exited)
	s.workers.Store(workers)
	idle := make(chan struct{})
	go func() {
		<-workers.Idle()
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
func (s *subscription) work(w *transport.Worker) {
	for {
		key, e, ok := s.lanes.Take()
		if !ok {
			return
		}
		if s.table.begin(e) {
			if !s.attend(w, e) {
				return
			}
			s.table.end(e)
		}
		s.lanes.Done(key)
	}
}

// attend handles or buries e; false when the worker was left behind in its handler.
func (s *subscription) attend(w *transport.Worker, e *entry) bool {
	if !e.careful && !e.over {
		return s.deliver(w, e)
	}
	// One at a time over all partitions: two that are under way when the
	// process dies could not be told apart.
	select {
	case s.alone <- struct{}{}:
	case <-e.p.limited:
		return true
	}
	switch {
	case e.over:
		s.bury(e)
	case s.commits.mark(e):
		if !s.deliver(w, e) {
			return false
		}
		// Before another one is begun: a mark that stays behind on finished work
		// would make it look like the culprit.
		s.commits.unmark(e.p)
	}
	<-s.alone
	return true
}

// leaveBehind gives up on those who are in a handler with a record of p, which is
// not ours any more: whatever they come to, other records go on.
func (s *subscription) leaveBehind(p *partition) {
	workers := s.workers.Load()
	if workers == nil {
		return
	}
	workers.Leave(func(task any) bool { return task.(*entry).p == p }, func(task any) { s.afterCall(task.(*entry)) })
}

// exited does what follows on a handler that ended the worker's goroutine. The
// bus has then dealt with the record, or its context has ended: it is left to
// the drain or to the next owner of its partition.
func (s *subscription) exited(task any, ok bool) {
	e := task.(*entry)
	e.ctx.End()
	if ok {
		s.settle(e)
	}
	s.afterCall(e)
}

// afterCall does what a worker does after its handler's return, in the place of
// one that does not come to it.
func (s *subscription) afterCall(e *entry) {
	if e.careful {
		s.commits.unmark(e.p)
		<-s.alone
	}
	s.table.end(e)
	s.lanes.Done(e.delivery.Key)
}

// deliver returns when the entry is handled, or when the drain or a rebalance
// takes it; false when the worker was left behind.
func (s *subscription) deliver(w *transport.Worker, e *entry) bool {
	msg, ctx := e.msg, &e.ctx
	for {
		ctx.Begin(e.p.live, &e.delivery)
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
		e.handed.Store(false)
		// Only what is not leat's own nacks here. A pause, so that a broken handler
		// does not take a processor for itself; in memory, so that the key waits.
		if !transport.Rest(e.p.limited, s.cfg.NackDelay) {
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
	if !s.beforeHandler(e) {
		return handedBack, true
	}
	if s.handle != nil {
		s.table.handed(e)
		s.stats.delivered.Add(1)
		ok, here := w.Call(s.handle, msg, e)
		if ok {
			return acked, here
		}
		return nacked, here
	}
	select {
	case s.out <- msg:
	case <-e.p.limited:
		if !s.table.needed(e, s.ending.Abandon) || !s.offerLate(e, msg) {
			return handedBack, true
		}
	}
	s.table.handed(e)
	s.stats.delivered.Add(1)
	select {
	case <-msg.Acked():
		return acked, true
	case <-msg.Nacked():
		return nacked, true
	case <-s.ending.Abandon:
		return handedBack, true
	case <-e.p.abandon:
		return handedBack, true
	}
}

// beforeHandler reports whether the entry is to be handled.
func (s *subscription) beforeHandler(e *entry) bool {
	select {
	case <-e.p.limited:
		return s.table.needed(e, s.ending.Abandon)
	default:
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
	if s.ending.IsStopping() {
		s.finished.Add(1)
	}
	s.admit(r.next)
	if r.resume {
		s.client.ResumeFetchPartitions(map[string][]int32{s.topic: {e.p.id}})
	}
	s.commits.wake(r.idle)
}

// admit puts entries into the lanes, in their order.
func (s *subscription) admit(batch []*entry) {
	// False once the drain has begun: they stay in their partition's window.
	s.lanes.AddAll(batch, (*entry).key)
}
