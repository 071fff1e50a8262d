package eventbustest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leat-go/leat/eventbus"
)

func memoryCases() []Case {
	return []Case{
		{
			Name: "PublishWaitsForHandlers", Laws: []int{1}, Need: []Feature{Synchronous}, run: publishWaits,
			Why: "Publish returns after the handlers finished, their retries included",
		},
		{
			Name: "EventsComeOneAfterAnother", Laws: []int{9}, Need: []Feature{Synchronous}, run: eventsOneByOne,
			Why: "the events of one Publish are handled one after another, the handlers of one event concurrently",
		},
		{
			Name: "HandlerErrorsStayInside", Laws: []int{3}, Need: []Feature{Synchronous}, run: errorsStayInside,
			Why: "errors of handlers do not reach the publisher; they are counted and logged",
		},
		{
			Name: "NestedPublishIsHandledInside", Need: []Feature{Synchronous}, run: nestedPublish,
			Why: "an event that a handler publishes is handled at once, inside",
		},
	}
}

func publishWaits(s *session) {
	n := s.start()
	var runs, done atomic.Int64
	n.on("slow", func(context.Context, placed) error {
		if runs.Add(1)%3 != 0 {
			return errPlanned
		}
		done.Add(1)
		return nil
	})
	n.publish(place("a", 1), place("b", 2))
	if got := done.Load(); got != 2 {
		s.Errorf("%d of 2 events were finished when Publish returned", got)
	}
}

func eventsOneByOne(s *session) {
	n := s.start()
	var mu sync.Mutex
	var log []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, what)
	}
	var inside atomic.Int64
	for _, name := range []string{"one", "two"} {
		n.on(name, func(_ context.Context, e placed) error {
			if inside.Add(1) > 2 {
				note("overlap")
			}
			defer inside.Add(-1)
			note(e.AggregateID)
			return nil
		})
	}
	// Two more that can only finish together.
	left, right := make(chan struct{}), make(chan struct{})
	meet := func(mine, theirs chan struct{}) func(context.Context, shipped) error {
		return func(ctx context.Context, _ shipped) error {
			close(mine)
			select {
			case <-theirs:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	for name, h := range map[string]func(context.Context, shipped) error{"left": meet(left, right), "right": meet(right, left)} {
		if _, err := eventbus.Subscribe(n.Bus, name, h); err != nil {
			s.Fatal(err)
		}
	}
	n.publish(place("a", 1), place("b", 2), ship("c", 3), place("d", 4))
	if want := []string{"a", "a", "b", "b", "d", "d"}; !slices.Equal(log, want) {
		s.Errorf("handled %v, want %v", log, want)
	}
}

func errorsStayInside(s *session) {
	n := s.start()
	n.on("failing", func(context.Context, placed) error { return errPlanned })
	n.on("panicking", func(context.Context, placed) error { panic("planned") })
	e := place("k", 1)
	if err := n.Bus.Publish(s.ctx(), e); err != nil {
		s.Errorf("Publish returned the handlers' errors: %v", err)
	}
	if stats := n.Bus.Stats(); stats.HandlerErrors != 6 || stats.EventsProcessedFailed != 1 || stats.EventsPublished != 1 || stats.PublishErrors != 0 {
		s.Errorf("stats %+v, want 6 handler errors, 1 failed, 1 published", stats)
	}
	if logged := s.logs.find(0, errPlanned.Error()); len(logged) == 0 {
		s.Error("the handlers' errors are not in the log")
	}
}

func nestedPublish(s *session) {
	n := s.start()
	var log []string
	n.on("outer", func(ctx context.Context, e placed) error {
		log = append(log, "outer begins")
		err := n.Bus.Publish(ctx, ship(e.AggregateID, 1))
		log = append(log, "outer ends")
		return err
	})
	if _, err := eventbus.Subscribe(n.Bus, "inner", func(context.Context, shipped) error {
		log = append(log, "inner")
		return nil
	}); err != nil {
		s.Fatal(err)
	}
	n.publish(place("k", 1))
	if want := []string{"outer begins", "inner", "outer ends"}; !slices.Equal(log, want) {
		s.Errorf("happened %v, want %v", log, want)
	}
}
