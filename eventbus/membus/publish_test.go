package membus_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
)

func TestPublish_HandlersHaveRunWhenItReturns(t *testing.T) {
	bus := open(t)
	var got OrderCreated
	on(t, bus, "one", func(_ context.Context, e OrderCreated) error { got = e; return nil })
	e := created("order-1")
	if err := bus.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got.EventID != e.EventID || got.EventType != "OrderCreated" || got.AggregateType != "Order" || got.EventVersion != 1 || got.CustomerID != "c-1" {
		t.Errorf("got %+v", got)
	}
	if e.EventType != "" {
		t.Error("Publish wrote to the caller's event")
	}
}

func TestPublish_EventsOneAfterAnotherHandlersOfOneAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := open(t)
		var order []string
		var mu sync.Mutex
		for _, name := range []string{"a", "b", "c"} {
			on(t, bus, name, func(_ context.Context, e OrderCreated) error {
				time.Sleep(time.Second) //nolint:forbidigo // the clock of synctest
				mu.Lock()
				defer mu.Unlock()
				order = append(order, e.AggregateID)
				return nil
			})
		}
		start := time.Now()
		if err := bus.Publish(t.Context(), created("1"), created("2")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("two events, three handlers of 1s: took %v, want 2s", took)
		}
		if want := []string{"1", "1", "1", "2", "2", "2"}; !slices.Equal(order, want) {
			t.Errorf("order = %v, want %v", order, want)
		}
	})
}

func TestPublish_FromInsideAHandlerRunsNestedAtOnce(t *testing.T) {
	bus := open(t)
	var trail []string
	on(t, bus, "outer", func(ctx context.Context, e OrderCreated) error {
		trail = append(trail, "begin")
		s := &OrderShipped{Base: eventbus.NewBase(e.AggregateID).CausedBy(&e)}
		err := bus.Publish(ctx, s)
		trail = append(trail, "end")
		return err
	})
	on(t, bus, "inner", func(context.Context, OrderShipped) error { trail = append(trail, "inner"); return nil })
	if err := bus.Publish(t.Context(), created("order-1")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"begin", "inner", "end"}; !slices.Equal(trail, want) {
		t.Errorf("trail = %v, want %v", trail, want)
	}
}

// A publisher that leaves, and a handler that listens: nobody else has the
// event, so the publisher is told.
func TestPublish_CutShortIsUnknownToThePublisher(t *testing.T) {
	bus := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	on(t, bus, "waits", func(ctx context.Context, _ OrderCreated) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	err := bus.Publish(ctx, created("1"), created("2"))
	var pe *eventbus.PublishError
	if !errors.As(err, &pe) || !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v", err)
	}
	if pe.Results[0].Outcome != eventbus.Unknown || pe.Results[1].Outcome != eventbus.Refused {
		t.Errorf("outcomes = %v, %v, want unknown and refused", pe.Results[0].Outcome, pe.Results[1].Outcome)
	}
	if n, _ := bus.DeadLetters().Count(t.Context()); n != 0 {
		t.Errorf("%d letters, want none", n)
	}
}

func TestPublish_FullDefaultChainStaysWithinSixAllocations(t *testing.T) {
	bus := open(t)
	var handled atomic.Int64
	on(t, bus, "h", func(context.Context, OrderCreated) error { handled.Add(1); return nil })
	ctx, e := t.Context(), created("order-1")
	if n := testing.AllocsPerRun(200, func() {
		if err := bus.Publish(ctx, e); err != nil {
			t.Fatal(err)
		}
	}); n > 6 {
		t.Errorf("%v allocations an event, want at most 6", n)
	}
	if handled.Load() != 201 {
		t.Errorf("handled %d", handled.Load())
	}
}

func TestPublish_UnencodableEventIsRefusedAndNothingIsHandled(t *testing.T) {
	bus := open(t, func(c *membus.Config) {
		c.Middleware = []message.HandlerMiddleware{middleware.Correlation}
	})
	ran := 0
	on(t, bus, "h", func(context.Context, OrderCreated) error { ran++; return nil })
	bad := created("2")
	bad.Metadata = map[string]any{"f": func() {}}
	err := bus.Publish(t.Context(), created("1"), bad)
	var pe *eventbus.PublishError
	if !errors.As(err, &pe) {
		t.Fatal(err)
	}
	if c, r, u := pe.Counts(); c != 0 || r != 2 || u != 0 || ran != 0 {
		t.Errorf("confirmed %d refused %d unknown %d, ran %d", c, r, u, ran)
	}
}
