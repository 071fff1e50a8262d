package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-go/leat/eventbus"
)

func publishCases() []Case {
	return []Case{
		{
			Name: "PublishEndsWithItsContext", Laws: []int{1}, Need: []Feature{Stalling}, run: publishEndsWithItsContext,
			Why: "a Publish that gets no confirmation ends with its context, and says of no event that it is confirmed",
		},
		{
			Name: "BackgroundReturnsAtOnce", Laws: []int{10}, Need: []Feature{Stalling}, run: backgroundReturnsAtOnce,
			Why: "a background publish returns before a slow broker or handler is done; at the bound it runs inline; shutdown waits for it",
		},
		{
			Name: "BackgroundDropsNothing", Laws: []int{1, 10}, run: backgroundDropsNothing,
			Why: "of many background publishes none is dropped, also when shutdown comes right behind them",
		},
		{
			Name: "HandlerPublishes", Need: []Feature{NestedPublish}, run: handlerPublishes,
			Why: "a handler that publishes on its own bus while it runs does not deadlock, at any bound",
		},
		{
			Name: "HandlerSubscribes", run: handlerSubscribes,
			Why: "a handler may subscribe and unsubscribe while it runs; the change shows from the next event on",
		},
	}
}

func publishEndsWithItsContext(s *session) {
	n := s.start()
	got := n.record("reader")
	release := n.stall()
	ctx, cancel := context.WithTimeout(s.ctx(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	events := []eventbus.Event{place("a", 1), place("a", 2), place("b", 3)}
	go func() { done <- n.Bus.Publish(ctx, events...) }()
	err := wait(s, done, "Publish returned after its context had ended")

	var told *eventbus.PublishError
	if !errors.As(err, &told) {
		s.Fatalf("Publish returned %v (%T), want a *PublishError", err, err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("error %v, want it to wrap context.DeadlineExceeded", err)
	}
	if len(told.Results) != len(events) {
		s.Fatalf("%d results, want one for each of %d events", len(told.Results), len(events))
	}
	for i, r := range told.Results {
		if r.EventID != events[i].EventBase().EventID || r.EventType != placedName || r.Err == nil || r.Outcome == eventbus.Confirmed {
			s.Errorf("result %d: %+v; want event %s of type %s, not confirmed, with an error", i, r, events[i].EventBase().EventID, placedName)
		}
	}
	if stats := n.Bus.Stats(); stats.EventsPublished != 0 || stats.PublishErrors != int64(len(events)) {
		s.Errorf("stats count %d published and %d errors, want 0 and %d", stats.EventsPublished, stats.PublishErrors, len(events))
	}
	release()
	e := place("c", 4)
	n.publish(e)
	got.WaitFor(s, e)
}

func backgroundReturnsAtOnce(s *session) {
	const bound = 2
	n := s.start(func(o *Options) { o.MaxBackground = bound })
	got := n.record("reader")
	release := n.stall()
	events := []eventbus.Event{place("a", 1), place("b", 2), place("c", 3)}
	returned := make(chan error, bound+1)
	ctx := s.ctx()
	for _, e := range events[:bound] {
		go func() { returned <- n.Bus.PublishInBackground(ctx, e) }()
		if err := wait(s, returned, "PublishInBackground returned while the broker or handler was busy"); err != nil {
			s.Fatalf("publish in background: %v", err)
		}
	}
	if got := n.Bus.BackgroundTaskCount(); got != bound {
		s.Errorf("%d background publishes under way, want %d", got, bound)
	}
	go func() { returned <- n.Bus.PublishInBackground(ctx, events[bound]) }()
	s.until("the call over the bound ran inline", func() bool { return n.Bus.Stats().BackgroundTasksInline == 1 }, func() any { return n.Bus.Stats() })
	s.never("the call over the bound returned at once: nothing slows the publisher down", 20*time.Millisecond, func() bool { return len(returned) > 0 })
	down := make(chan eventbus.Report, 1)
	go func() { down <- n.stop() }()
	s.never("Shutdown returned while background publishes were under way", 30*time.Millisecond, func() bool { return len(down) > 0 })
	release()
	if err := wait(s, returned, "the inline call returned"); err != nil {
		s.Errorf("inline: %v", err)
	}
	wait(s, down, "Shutdown")
	stats := n.Bus.Stats()
	if stats.BackgroundTasksCreated != bound || stats.BackgroundTasksInline != 1 || stats.BackgroundErrors != 0 || stats.BackgroundTasksActive != 0 {
		s.Errorf("stats %+v, want %d tasks, 1 inline, no errors, none active", stats, bound)
	}
	if stats.EventsPublished != int64(len(events)) {
		s.Errorf("%d events published, want %d", stats.EventsPublished, len(events))
	}
	if s.has(Synchronous) {
		got.WantAnyOrder(s, events...)
	}
}

func backgroundDropsNothing(s *session) {
	total := s.scaled(300)
	n := s.start(func(o *Options) { o.MaxBackground = 8; o.Concurrency = 4 })
	got := n.record("reader")
	ctx := s.ctx()
	var sent []eventbus.Event
	for i := range total {
		e := place(fmt.Sprintf("k%d", i%11), i)
		if err := n.Bus.PublishInBackground(ctx, e); err != nil {
			s.Fatalf("publish in background: %v", err)
		}
		sent = append(sent, e)
	}
	if !s.has(Synchronous) {
		got.WantAnyOrder(s, sent...) // the shutdown ends the consumer half first
	}
	n.stop()
	stats := n.Bus.Stats()
	if stats.EventsPublished != int64(total) || stats.BackgroundErrors != 0 || stats.BackgroundTasksCreated+stats.BackgroundTasksInline != int64(total) {
		s.Errorf("stats %+v, want %d published, in background and inline together, without errors", stats, total)
	}
	got.WantAnyOrder(s, sent...)
}

func handlerPublishes(s *session) {
	for _, concurrency := range []int{1, 3} {
		n := s.start(func(o *Options) {
			o.Topic += fmt.Sprintf("-%d", concurrency)
			o.Concurrency, o.MaxBackground = concurrency, 1
		})
		end := &Recorder{Timeout: s.h.Patience}
		if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[shipped](), "end", end); err != nil {
			s.Fatal(err)
		}
		n.on("shipping", func(ctx context.Context, e placed) error {
			if err := n.Bus.PublishInBackground(ctx, ship(e.AggregateID, 100+e.N)); err != nil {
				return err
			}
			return n.Bus.Publish(ctx, ship(e.AggregateID, e.N))
		})
		n.publish(series("k", 5)...)
		if got := end.Wait(s, 10); len(got) != 10 {
			s.Errorf("concurrency %d: %d events from handlers, want 10", concurrency, len(got))
		}
		n.stop()
	}
}

func handlerSubscribes(s *session) {
	n := s.start()
	witness := n.recordAll("witness")
	late := &Recorder{Timeout: s.h.Patience}
	var sub *eventbus.Subscription
	sub = n.on("changing", func(_ context.Context, e placed) error {
		if !sub.Unsubscribe() {
			return errors.New("not subscribed")
		}
		_, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "late", late)
		return err
	})
	first, second := place("k", 1), place("k", 2)
	n.publish(first)
	n.consumed(1)
	n.publish(second)
	witness.Wait(s, 2)
	late.Want(s, second)
	if got := n.Bus.SubscriberCount(); got != 1 {
		s.Errorf("%d subscribers, want 1", got)
	}
	n.stop()
	if late.Len() != 1 {
		s.Errorf("the handler that was added got %d events, want the next one only", late.Len())
	}
}
