package eventbustest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

func groupCases() []Case {
	return []Case{
		{
			Name: "ConsumersShareAGroup", Need: []Feature{Broker, CompetingConsumers}, run: consumersShare,
			Why: "of two consumers of one group each event is handled by one, and both get a share",
		},
		{
			Name: "GroupsAreIndependent", Need: []Feature{Broker, IndependentGroups}, run: groupsAreIndependent,
			Why: "of two groups each gets all events",
		},
		{
			Name: "RetriesStayInTheGroup", Laws: []int{4}, Need: []Feature{Broker, IndependentGroups}, run: retriesStayInTheGroup,
			Why: "the retries and the replays of one group are invisible to the others",
		},
		{
			Name: "DeadConsumerIsReplaced", Laws: []int{2, 8}, Need: []Feature{Broker, CrashRecovery}, run: deadConsumerIsReplaced,
			Why: "what a consumer was handling when it was killed is handled by another one of its group",
		},
		{
			Name: "KillerIsBuried", Laws: []int{5, 8}, Need: []Feature{Broker, CrashRecovery, DeliveryLimit, Letters}, run: killerIsBuried,
			Why: "an event that kills its consumer again and again is buried after the configured number of deliveries, and the others go on",
		},
		{
			Name: "SlowHandlerIsNotRobbed", Laws: []int{8, 9}, Need: []Feature{Broker, SlowHandlers}, run: slowHandlerIsNotRobbed,
			Why: "an event stays with its handler while that runs, however long it takes",
		},
		{
			Name: "NewGroupGetsTheHistory", Need: []Feature{Broker, History}, run: newGroupGetsHistory,
			Why: "a consumer group that is created later gets what was published before",
		},
		{
			Name: "GroupGoesOnWhereItStopped", Laws: []int{7, 8}, Need: []Feature{Broker, Resumes}, run: groupResumes,
			Why: "a group that is stopped and started again loses nothing and repeats nothing that was finished",
		},
		{
			Name: "OpenedAtTheSameMoment", Need: []Feature{Broker}, run: openedTogether,
			Why: "two processes that create the topic and the group at the same moment both work",
		},
	}
}

func consumersShare(s *session) {
	ledger := &Ledger{Once: true}
	started := make([]atomic.Int64, 2)
	both := s.gate()
	nodes := []*node{s.open(), s.open()}
	for i, n := range nodes {
		h := ledger.Handler("reader", eventbus.HandlerFunc(func(ctx context.Context, _ eventbus.Event) error {
			started[i].Add(1)
			if started[0].Load() > 0 && started[1].Load() > 0 {
				both.open()
			}
			return both.wait(ctx)
		}))
		if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", h); err != nil {
			s.Fatal(err)
		}
		n.run()
	}
	total := s.scaled(200)
	for i := range total {
		if err := ledger.Publish(s.ctx(), nodes[i%2].Bus, place(fmt.Sprintf("k%d", i), i)); err != nil {
			s.Fatalf("publish: %v", err)
		}
	}
	s.until("all events handled", func() bool { return ledger.Finished("reader") >= total }, func() any {
		return fmt.Sprintf("%d of %d; the consumers began %d and %d", ledger.Finished("reader"), total, started[0].Load(), started[1].Load())
	})
	for _, n := range nodes {
		n.stop()
	}
	ledger.Check(s)
}

func groupsAreIndependent(s *session) {
	a, b := s.start(), s.start(func(o *Options) { o.Group += "-other" })
	atA, atB := a.record("reader"), b.record("reader")
	var events []eventbus.Event
	for i := range 20 {
		events = append(events, place(fmt.Sprintf("k%d", i%4), i))
	}
	a.publish(events[:10]...)
	b.publish(events[10:]...)
	atA.WantAnyOrder(s, events...)
	atB.WantAnyOrder(s, events...)
	a.stop()
	b.stop()
	if atA.Len()+atB.Len() != 2*len(events) {
		s.Errorf("the groups got %d and %d events, want %d each", atA.Len(), atB.Len(), len(events))
	}
}

func retriesStayInTheGroup(s *session) {
	a, b := s.start(), s.start(func(o *Options) { o.Group += "-other" })
	mended := s.gate()
	atA := a.recordWith("reader", func(context.Context, eventbus.Event) error {
		select {
		case <-mended.opened:
			return nil
		default:
			return errPlanned
		}
	})
	atB := b.record("reader")
	e := place("k", 1)
	a.publish(e)
	a.consumed(1)
	atB.Want(s, e)
	mended.open()
	if s.has(Letters) {
		letters := a.letters(dlq.Query{Filter: dlq.Filter{Group: s.group}})
		if len(letters) != 1 {
			s.Fatalf("%d letters of the failing group, want 1", len(letters))
		}
		if err := a.Bus.DeadLetters().Replay(s.ctx(), letters[0].ID); err != nil {
			s.Fatalf("replay: %v", err)
		}
		a.consumed(2)
		atA.Want(s, e, e, e, e)
	}
	later := place("k", 2)
	a.publish(later)
	atB.WaitFor(s, later)
	b.stop()
	if got := atB.Count(e); got != 1 {
		s.Errorf("the other group was given the event %d times, want once", got)
	}
	if stats := b.Bus.Stats(); stats.MessagesSentToDLQ != 0 || stats.EventsProcessedFailed != 0 || stats.HandlersInvoked != 2 {
		s.Errorf("the other group's statistics: %+v, want 2 runs, no failures", stats)
	}
}

func deadConsumerIsReplaced(s *session) {
	ledger := &Ledger{}
	dying := s.start(func(o *Options) { o.FastRecovery = true })
	g := s.gate()
	began := make(chan struct{}, 100)
	if _, err := dying.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", eventbus.HandlerFunc(func(ctx context.Context, _ eventbus.Event) error {
		began <- struct{}{}
		return g.wait(ctx)
	})); err != nil {
		s.Fatal(err)
	}
	var events []eventbus.Event
	for i := range 5 {
		events = append(events, place(fmt.Sprintf("k%d", i%2), i))
	}
	if err := ledger.Publish(s.ctx(), dying.Bus, events...); err != nil {
		s.Fatalf("publish: %v", err)
	}
	wait(s, began, "the handler began")
	dying.crash()
	g.open() // it succeeds, but nobody hears of it
	next := s.open(func(o *Options) { o.FastRecovery = true })
	if _, err := next.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", ledger.Handler("reader", nil)); err != nil {
		s.Fatal(err)
	}
	next.run()
	s.until("the events of the dead consumer handled", func() bool { return ledger.Finished("reader") >= len(events) },
		func() any { return fmt.Sprintf("%d of %d", ledger.Finished("reader"), len(events)) })
	next.stop()
	ledger.Check(s)
}

func killerIsBuried(s *session) {
	const limit = 3
	killer, next := place("killer", 1), place("innocent", 2)
	began := make(chan struct{}, 100)
	mortal := func(o *Options) { o.FastRecovery, o.MaxDeliveries = true, limit }
	for life := range limit {
		n := s.open(mortal)
		g := s.gate()
		n.on("reader", func(ctx context.Context, e placed) error {
			if e.EventID != killer.EventID {
				return nil
			}
			began <- struct{}{}
			return g.wait(ctx)
		})
		n.run()
		if life == 0 {
			n.publish(killer)
		}
		wait(s, began, fmt.Sprintf("delivery %d of %d", life+1, limit))
		n.crash()
		g.open()
	}
	last := s.open(mortal)
	got := last.record("reader")
	last.run()
	last.publish(next)
	got.WaitFor(s, next)
	var letters []dlq.Letter
	s.until("the killer is buried", func() bool { letters = last.letters(dlq.Query{}); return len(letters) > 0 }, func() any { return last.Bus.Stats() })
	if l := letters[0]; len(letters) != 1 || l.MessageID != killer.EventID || l.Reason != dlq.ReasonDeliveryLimit {
		s.Errorf("%d letters, the first of %s for %q; want one of %s for %s", len(letters), l.MessageID, l.Reason, killer.EventID, dlq.ReasonDeliveryLimit)
	}
	last.stop()
	if n := got.Count(killer); n != 0 {
		s.Errorf("the killer was handled %d times after its last chance, want none", n)
	}
}

func slowHandlerIsNotRobbed(s *session) {
	slow := s.start(func(o *Options) { o.FastRecovery = true })
	g := s.gate()
	got := slow.recordWith("reader", func(ctx context.Context, _ eventbus.Event) error { return g.wait(ctx) })
	e := place("k", 1)
	done := slow.publishing(e)
	got.Want(s, e)
	idle := s.open(func(o *Options) { o.FastRecovery = true })
	other := idle.record("reader")
	idle.run()
	s.never("the event was given to somebody else while its handler ran", 4*s.h.RecoveryTime, func() bool { return got.Len()+other.Len() > 1 })
	g.open()
	s.published(done)
	slow.consumed(1)
	slow.stop()
	idle.stop()
	if got.Len()+other.Len() != 1 {
		s.Errorf("the event was handled %d times, want once", got.Len()+other.Len())
	}
}

func newGroupGetsHistory(s *session) {
	first := s.start()
	at := first.record("reader")
	var events []eventbus.Event
	for i := range 20 {
		events = append(events, place(fmt.Sprintf("k%d", i%4), i))
	}
	first.publish(events...)
	at.WantAnyOrder(s, events...)
	first.stop()
	late := s.open(func(o *Options) { o.Group += "-later" })
	got := late.record("reader")
	late.run()
	got.WantAnyOrder(s, events...)
}

func groupResumes(s *session) {
	ledger := &Ledger{Once: true}
	writer := s.open(func(o *Options) { o.Group += "-writer" })
	total := 0
	for round := range 3 {
		n := s.open(func(o *Options) { o.FastRecovery = true })
		if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", ledger.Handler("reader", nil)); err != nil {
			s.Fatal(err)
		}
		n.run()
		for i := range 20 {
			if err := ledger.Publish(s.ctx(), writer.Bus, place(fmt.Sprintf("k%d", i%4), round*100+i)); err != nil {
				s.Fatalf("publish: %v", err)
			}
			total++
			if i == 9 { // what follows is published around the stop, and after it
				s.until("half of the round handled", func() bool { return ledger.Finished("reader") >= total-9 }, func() any { return ledger.Finished("reader") })
				n.stop()
			}
		}
	}
	last := s.open(func(o *Options) { o.FastRecovery = true })
	if _, err := last.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", ledger.Handler("reader", nil)); err != nil {
		s.Fatal(err)
	}
	last.run()
	s.until("all events handled", func() bool { return ledger.Finished("reader") >= total },
		func() any { return fmt.Sprintf("%d of %d", ledger.Finished("reader"), total) })
	last.stop()
	ledger.Check(s)
}

func openedTogether(s *session) {
	const processes = 4
	nodes := make([]*node, processes)
	errs := make(chan error, processes)
	for i := range nodes {
		go func() {
			in, err := s.tryOpen()
			nodes[i] = &node{Instance: in, s: s}
			errs <- err
		}()
	}
	for range nodes {
		if err := wait(s, errs, "opened"); err != nil {
			s.Fatalf("open: %v", err)
		}
	}
	ledger := &Ledger{}
	for _, n := range nodes {
		s.Cleanup(n.cleanup)
		if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", ledger.Handler("reader", nil)); err != nil {
			s.Fatal(err)
		}
		n.begin()
	}
	for _, n := range nodes {
		n.running()
	}
	for i, n := range nodes {
		if err := ledger.Publish(s.ctx(), n.Bus, place(fmt.Sprintf("k%d", i), i)); err != nil {
			s.Fatalf("publish: %v", err)
		}
	}
	s.until("all events handled", func() bool { return ledger.Finished("reader") == processes }, func() any { return ledger.Finished("reader") })
	for i, n := range nodes {
		select {
		case err := <-n.ran:
			s.Errorf("Run of bus %d returned %v while the others worked", i, err)
			n.ran = nil
		case <-time.After(look):
		}
	}
	ledger.Check(s)
}
