package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/router"
)

func shutdownCases() []Case {
	return []Case{
		{
			Name: "IdleShutdownIsQuick", Laws: []int{7}, Need: []Feature{QuickShutdown}, alone: true, run: idleShutdown,
			Why: "shutting down an idle bus takes less than 100 ms; a second time, and before Run, it returns nil",
		},
		{
			Name: "NoGoroutineIsLeft", Laws: []int{7}, alone: true, run: noGoroutineIsLeft,
			Why: "after Shutdown no goroutine of the bus is left",
		},
		{
			Name: "ClosedIsClosed", Laws: []int{7}, run: closedIsClosed,
			Why: "after Shutdown, Publish, Subscribe and Run return ErrClosed",
		},
		{
			Name: "RunsOnce", Laws: []int{7}, run: runsOnce,
			Why: "a bus that runs refuses to run again, and ending the context of Run drains it",
		},
		{
			Name: "ShutdownWhilePublishing", Laws: []int{1, 7}, run: shutdownWhilePublishing,
			Why: "every Publish that is under way when the bus shuts down returns, and what it confirmed is handled or stays with the broker",
		},
		{
			Name: "RunningHandlerFinishes", Laws: []int{2, 7}, run: runningHandlerFinishes,
			Why: "a handler that is in flight at shutdown finishes with a live context, its event is acknowledged, and no letter appears",
		},
		{
			Name: "DeadlineEndsTheHandler", Laws: []int{7}, run: deadlineEndsTheHandler,
			Why: "past the deadline of a shutdown the handler's context ends with a cause, Shutdown returns, and the event is not dead-lettered",
		},
		{
			Name: "BackoffEndsAtShutdown", Laws: []int{4, 7}, run: backoffEndsAtShutdown,
			Why: "an event that is waiting for its retry at the deadline of a shutdown is handed back, not dead-lettered",
		},
		{
			Name: "HandedBackComesAgain", Laws: []int{7, 8}, Need: []Feature{Broker, Redelivers}, run: handedBackComesAgain,
			Why: "what a shutdown handed back unfinished is delivered again",
		},
		{
			Name: "GivenThingsStayOpen", Laws: []int{11}, Need: []Feature{Owned}, run: givenThingsStayOpen,
			Why: "what the bus was given is open and usable after Shutdown",
		},
	}
}

func idleShutdown(s *session) {
	const limit, tries = 100 * time.Millisecond, 5 // the machine may be busy with something else
	best := time.Hour
	for range tries {
		n := s.start()
		got := n.record("reader")
		e := place("k", 1)
		n.publish(e)
		got.WaitFor(s, e)
		n.consumed(1)
		began := time.Now()
		n.stop()
		best = min(best, time.Since(began))
		if _, err := n.Bus.Shutdown(s.ctx()); err != nil {
			s.Errorf("the second Shutdown: %v", err)
		}
		if best < limit {
			break
		}
	}
	if best >= limit {
		s.Errorf("the quickest of %d took %v", tries, best)
	}
	fresh := s.open()
	if report := fresh.stop(); report.Finished != 0 || report.HandedBack != 0 {
		s.Errorf("before Run: report %+v, want nothing finished, nothing handed back", report)
	}
}

func noGoroutineIsLeft(s *session) {
	leaktest.Check(s, s.h.IgnoreGoroutines...)
	n := s.start(func(o *Options) { o.Concurrency = 3; o.HandlerTimeout = time.Minute })
	n.on("failing", func(context.Context, placed) error { return errPlanned })
	n.publish(series("k", 3)...)
	if err := n.Bus.PublishInBackground(s.ctx(), ship("k", 1)); err != nil {
		s.Fatal(err)
	}
	n.consumed(4)
	n.stop()
}

func closedIsClosed(s *session) {
	n := s.start()
	n.stop()
	ctx := s.ctx()
	_, sub := n.Bus.SubscribeToAllEvents("late", &Recorder{})
	for what, err := range map[string]error{
		"Publish":             n.Bus.Publish(ctx, place("k", 1)),
		"PublishInBackground": n.Bus.PublishInBackground(ctx, place("k", 1)),
		"Run":                 n.Bus.Run(ctx),
		"Subscribe":           sub,
	} {
		if !errors.Is(err, eventbus.ErrClosed) {
			s.Errorf("%s after Shutdown: error %v, want ErrClosed", what, err)
		}
	}
}

func runsOnce(s *session) {
	n := s.open()
	got := n.record("reader")
	ctx, cancel := context.WithCancel(s.ctx())
	defer cancel()
	ran := make(chan error, 2)
	for range 2 {
		go func() { ran <- n.Bus.Run(ctx) }()
	}
	if err := wait(s, ran, "one of two Runs was refused"); !errors.Is(err, eventbus.ErrRunning) {
		s.Errorf("one of two Runs returned %v, want ErrRunning", err)
	}
	wait(s, n.Bus.Running(), "the bus consumed")
	e := place("k", 1)
	n.publish(e)
	got.Want(s, e)
	cancel()
	if err := wait(s, ran, "Run returned after its context had ended"); err != nil {
		s.Errorf("Run returned %v after its context ended, want nil", err)
	}
	n.stop()
}

func shutdownWhilePublishing(s *session) {
	n := s.start(func(o *Options) { o.Concurrency = 4; o.FastRecovery = true })
	ledger := &Ledger{}
	if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", ledger.Handler("reader", nil)); err != nil {
		s.Fatal(err)
	}
	ctx := s.ctx()
	var published atomic.Int64
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				err := ledger.Publish(ctx, n.Bus, place(fmt.Sprintf("k%d-%d", p, i%3), i))
				if errors.Is(err, eventbus.ErrClosed) {
					return
				}
				if err != nil {
					var told *eventbus.PublishError
					if !errors.As(err, &told) {
						s.Errorf("Publish during shutdown: %v, want a *PublishError or ErrClosed", err)
					}
					return
				}
				published.Add(1)
			}
		})
	}
	s.until("some events published", func() bool { return published.Load() > 20 }, func() any { return published.Load() })
	n.stop()
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	wait(s, done, "every Publish returned")
	switch {
	case s.has(Synchronous):
	case s.has(Resumes):
		next := s.open(func(o *Options) { o.FastRecovery = true })
		if _, err := next.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", ledger.Handler("reader", nil)); err != nil {
			s.Fatal(err)
		}
		next.run()
		s.until("what was left is handled", func() bool { return ledger.Finished("reader") >= ledger.Confirmed() },
			func() any { return fmt.Sprintf("%d of %d", ledger.Finished("reader"), ledger.Confirmed()) })
		next.stop()
	default:
		return // what is left is with nobody
	}
	ledger.Check(s)
}

func runningHandlerFinishes(s *session) {
	n := s.start()
	g := s.gate()
	var live atomic.Bool
	got := n.recordWith("reader", func(ctx context.Context, _ eventbus.Event) error {
		err := g.wait(ctx)
		live.Store(ctx.Err() == nil)
		return err
	})
	e := place("k", 1)
	done := n.publishing(e)
	got.Want(s, e)
	down := make(chan eventbus.Report, 1)
	go func() { down <- n.stop() }()
	s.never("Shutdown did not wait for the handler", 30*time.Millisecond, func() bool { return len(down) > 0 })
	g.open()
	report := wait(s, down, "Shutdown")
	s.published(done)
	if !live.Load() {
		s.Error("the handler's context had ended, though the deadline was far")
	}
	stats := n.Bus.Stats()
	if stats.EventsProcessedSuccess != 1 || stats.EventsHandedBack != 0 || stats.MessagesSentToDLQ != 0 || report.Finished != 1 || report.HandedBack != 0 {
		s.Errorf("report %+v, stats %+v; want 1 finished, nothing handed back or buried", report, stats)
	}
	if s.has(Resumes) {
		s.notAgain(e)
	}
}

// notAgain starts another bus of the group and shows that the event does not
// come again: one that is published later does.
func (s *session) notAgain(finished eventbus.Event) {
	s.Helper()
	next := s.open(func(o *Options) { o.FastRecovery = true })
	again := next.record("reader")
	next.run()
	later := place("k", 99)
	next.publish(later)
	again.WaitFor(s, later)
	next.stop()
	if again.Count(finished) > 0 {
		s.Errorf("event %s was delivered again, though it was finished", finished.EventBase().EventID)
	}
}

func deadlineEndsTheHandler(s *session) {
	n := s.start(func(o *Options) { o.FastRecovery = true })
	causes := make(chan error, 10)
	got := n.recordWith("reader", func(ctx context.Context, _ eventbus.Event) error {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	})
	e := place("k", 1)
	done := n.publishing(e)
	got.Want(s, e)
	report, err := n.shutdown(50 * time.Millisecond)
	if !errors.Is(err, router.ErrCloseTimeout) {
		s.Errorf("Shutdown returned %v, want router.ErrCloseTimeout: a handler outlived the deadline", err)
	}
	if cause := wait(s, causes, "the handler's context ended"); !errors.Is(cause, router.ErrDrainDeadline) {
		s.Errorf("the context's cause is %v, want router.ErrDrainDeadline", cause)
	}
	published := wait(s, done, "Publish returned")
	if s.has(Synchronous) {
		var told *eventbus.PublishError
		if !errors.As(published, &told) || told.Results[0].Outcome != eventbus.Unknown {
			s.Errorf("Publish returned %v, want the event unknown", published)
		}
	} else if published != nil {
		s.Errorf("Publish: %v", published)
	}
	if report.Finished != 0 || report.HandedBack != 1 {
		s.Errorf("report %+v, want 1 handed back", report)
	}
	s.handedBack(n)
}

// handedBack checks that the event is nobody's letter.
func (s *session) handedBack(n *node) {
	s.Helper()
	stats := n.Bus.Stats()
	if stats.MessagesSentToDLQ != 0 || stats.EventsProcessedFailed != 0 || stats.EventsConsumed != 0 {
		s.Errorf("stats %+v, want no letter, no failure, nothing consumed", stats)
	}
	if letters := s.logs.find(slog.LevelWarn, "buried"); len(letters) > 0 {
		s.Errorf("the shutdown buried the event: %s", letters[0])
	}
}

func handedBackComesAgain(s *session) {
	n := s.start(func(o *Options) { o.FastRecovery = true })
	got := n.recordWith("reader", func(ctx context.Context, _ eventbus.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	first, second := place("k", 1), place("k", 2)
	n.publish(first, second)
	got.Want(s, first)
	if _, err := n.shutdown(50 * time.Millisecond); !errors.Is(err, router.ErrCloseTimeout) {
		s.Errorf("Shutdown returned %v, want router.ErrCloseTimeout", err)
	}
	next := s.open(func(o *Options) { o.FastRecovery = true })
	again := next.record("reader")
	next.run()
	again.WaitFor(s, first)
	again.WaitFor(s, second)
	next.stop()
	if again.Len() != 2 {
		s.Errorf("%d deliveries after the restart, want each event once: %v", again.Len(), list(describe(again.Events())))
	}
}

func backoffEndsAtShutdown(s *session) {
	n := s.start(func(o *Options) { o.FastRecovery = true; o.Retry.BaseDelay = time.Hour; o.Retry.MaxDelay = time.Hour })
	got := n.recordWith("reader", func(context.Context, eventbus.Event) error { return errPlanned })
	e := place("k", 1)
	done := n.publishing(e)
	got.Want(s, e)
	if _, err := n.shutdown(50 * time.Millisecond); !errors.Is(err, router.ErrCloseTimeout) {
		s.Errorf("Shutdown returned %v, want router.ErrCloseTimeout", err)
	}
	if err := wait(s, done, "Publish returned"); (err != nil) != s.has(Synchronous) {
		s.Errorf("Publish returned %v; only a publisher who waited for the handlers is told", err)
	}
	s.until("the event handed back", func() bool { return n.Bus.Stats().EventsHandedBack == 1 }, func() any { return n.Bus.Stats() })
	s.handedBack(n)
}

func givenThingsStayOpen(s *session) {
	n := s.start()
	if n.StillOpen == nil {
		s.Fatalf("the harness's instances have no StillOpen: declare that the bus lacks %s", Owned)
	}
	n.record("reader")
	n.publish(place("k", 1))
	n.consumed(1)
	n.stop()
	if err := n.StillOpen(); err != nil {
		s.Errorf("the bus closed what it was given: %v", err)
	}
}
