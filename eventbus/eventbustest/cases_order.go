package eventbustest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

func orderCases() []Case {
	return []Case{
		{
			Name: "OnePublishKeepsItsOrder", Laws: []int{9}, Need: []Feature{Order}, run: onePublishKeepsItsOrder,
			Why: "five events of one aggregate in one Publish arrive in order",
		},
		{
			Name: "OrderByKeyThroughLanes", Laws: []int{9}, Need: []Feature{Order}, run: orderThroughLanes,
			Why: "a hundred aggregates with a hundred events each keep their order through eight lanes, retries included",
		},
		{
			Name: "BackoffHoldsOnlyItsKey", Laws: []int{4, 9}, Need: []Feature{Order, ParallelKeys}, run: backoffHoldsOnlyItsKey,
			Why: "while one key backs off, events of other keys are handled, and those of the same key wait and keep their order",
		},
		{
			Name: "SlowKeyHoldsUpNoOther", Laws: []int{9}, Need: []Feature{ParallelKeys}, run: slowKeyHoldsUpNoOther,
			Why: "a slow handler of one key does not hold up the events of other keys",
		},
		{
			Name: "ConcurrencyIsABound", Laws: []int{10}, Need: []Feature{Concurrency, ParallelKeys}, alone: true, run: concurrencyIsABound,
			Why: "with Concurrency n, n slow handlers of different keys overlap, and never more than n",
		},
	}
}

func onePublishKeepsItsOrder(s *session) {
	n := s.start(func(o *Options) { o.Concurrency = 4 })
	got := n.record("reader")
	events := series("order-1", 5)
	n.publish(events...)
	got.Want(s, events...)
}

func orderThroughLanes(s *session) {
	keys, each := 100, s.scaled(100)
	const publishers = 8
	n := s.start(func(o *Options) { o.Concurrency = 8 })
	ledger := &Ledger{Ordered: true, Once: true}
	var flaky atomic.Int64
	h := ledger.Handler("reader", eventbus.HandlerFunc(func(context.Context, eventbus.Event) error {
		runtime.Gosched()
		if flaky.Add(1)%97 == 0 {
			return errPlanned // and succeed in the next attempt
		}
		return nil
	}))
	if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", h, eventbus.WithRetry(middleware.Retry{MaxRetries: 20, BaseDelay: time.Millisecond, MaxDelay: time.Millisecond})); err != nil {
		s.Fatal(err)
	}
	ctx := s.ctx()
	errs := make([]error, publishers)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := 0; i < each; i += 2 {
				var batch []eventbus.Event
				for k := p; k < keys; k += publishers { // neighbours, which lanes must keep apart
					batch = append(batch, place(fmt.Sprintf("key-%d", k), i), place(fmt.Sprintf("key-%d", k), i+1))
				}
				if err := ledger.Publish(ctx, n.Bus, batch...); err != nil {
					errs[p] = err
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			s.Fatalf("publish: %v", err)
		}
	}
	s.until("all events handled", func() bool { return ledger.Finished("reader") >= keys*each },
		func() any { return fmt.Sprintf("%d of %d", ledger.Finished("reader"), keys*each) })
	n.stop()
	ledger.Check(s)
}

func backoffHoldsOnlyItsKey(s *session) {
	const pause = 700 * time.Millisecond
	n := s.start(func(o *Options) { o.Concurrency = 4 })
	var got *Recorder
	var failed atomic.Bool
	began := make(chan struct{})
	got = n.recordWith("reader", func(_ context.Context, e eventbus.Event) error {
		if e.EventBase().AggregateID == "failing" && failed.CompareAndSwap(false, true) {
			close(began)
			return middleware.RetryAfter(errPlanned, pause)
		}
		return nil
	})
	bad := series("failing", 3)
	first := n.publishing(bad...)
	wait(s, began, "the first attempt")
	good := series("healthy", 3)
	s.published(n.publishing(good...))
	for _, e := range good {
		got.WaitFor(s, e)
	}
	s.published(first)
	got.Want(s, bad[0], good[0], good[1], good[2], bad[0], bad[1], bad[2])
}

func slowKeyHoldsUpNoOther(s *session) {
	n := s.start(func(o *Options) { o.Concurrency = 2 })
	g := s.gate()
	got := n.recordWith("reader", func(ctx context.Context, e eventbus.Event) error {
		if e.EventBase().AggregateID == "slow" {
			return g.wait(ctx)
		}
		return nil
	})
	slow := place("slow", 1)
	first := n.publishing(slow)
	got.WaitFor(s, slow)
	quick := series("quick", 10)
	s.published(n.publishing(quick...))
	for _, e := range quick {
		got.WaitFor(s, e)
	}
	g.open()
	s.published(first)
}

func concurrencyIsABound(s *session) {
	const bound = 4
	n := s.start(func(o *Options) { o.Concurrency = bound })
	g := s.gate()
	var running, most atomic.Int64
	got := n.recordWith("reader", func(ctx context.Context, _ eventbus.Event) error {
		now := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		return g.wait(ctx)
	})
	var events []eventbus.Event
	for i := range 4 * bound {
		events = append(events, place(fmt.Sprintf("key-%d", i), i))
	}
	n.publish(events...)
	s.until(fmt.Sprintf("%d handlers at once", bound), func() bool { return running.Load() >= bound }, func() any { return running.Load() })
	s.never("more handlers run at once than Concurrency allows", 50*time.Millisecond, func() bool { return most.Load() > bound })
	g.open()
	got.WantAnyOrder(s, events...)
	if got := most.Load(); got != bound {
		s.Errorf("at most %d handlers ran at once, want %d", got, bound)
	}
}
