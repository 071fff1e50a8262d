package membus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

func TestShutdown_CountsNestedPublishesThatWereCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, err := membus.New(membus.Config{Registry: registry(t)})
		if err != nil {
			t.Fatal(err)
		}
		on(t, bus, "outer", func(ctx context.Context, e OrderCreated) error {
			time.Sleep(time.Second) //nolint:forbidigo // the clock of synctest
			return bus.Publish(ctx, &OrderShipped{Base: eventbus.NewBase(e.AggregateID)})
		})
		on(t, bus, "inner", func(ctx context.Context, _ OrderShipped) error { <-ctx.Done(); return ctx.Err() })
		go func() { _ = bus.Publish(context.Background(), created("1")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		report, err := bus.Shutdown(ctx)
		if !errors.Is(err, router.ErrCloseTimeout) || report.Finished != 0 || report.HandedBack != 2 {
			t.Errorf("%+v, %v", report, err)
		}
		synctest.Wait()
	})
}

func TestShutdown_NestedThroughAnotherBusMayPublishDuringDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := membus.New(membus.Config{Registry: registry(t), Retry: middleware.Retry{MaxRetries: middleware.NoRetries}})
		if err != nil {
			t.Fatal(err)
		}
		b := open(t)
		var inner error
		on(t, a, "h", func(ctx context.Context, _ OrderCreated) error {
			time.Sleep(time.Second) //nolint:forbidigo // the clock of synctest
			return b.Publish(ctx, created("2"))
		})
		on(t, b, "h", func(ctx context.Context, _ OrderCreated) error {
			inner = a.Publish(ctx, &OrderShipped{Base: eventbus.NewBase("3")})
			return nil
		})
		go func() { _ = a.Publish(context.Background(), created("1")) }()
		synctest.Wait()
		if _, err := a.Shutdown(t.Context()); err != nil || inner != nil {
			t.Errorf("shutdown %v, inner %v", err, inner)
		}
	})
}

// A handler that is refused a publish because the deadline passed must see its
// context ended: it would take it for a failure of its own, and be buried.
func TestShutdown_LeavesNoLetterBecauseOfTheShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			bus, err := membus.New(membus.Config{Registry: registry(t), Retry: middleware.Retry{MaxRetries: middleware.NoRetries}})
			if err != nil {
				t.Fatal(err)
			}
			on(t, bus, "loops", func(ctx context.Context, _ OrderCreated) error {
				for {
					if err := bus.Publish(ctx, &OrderShipped{Base: eventbus.NewBase("3")}); err != nil {
						return err
					}
				}
			})
			on(t, bus, "inner", func(ctx context.Context, _ OrderShipped) error {
				time.Sleep(time.Millisecond) //nolint:forbidigo // the clock of synctest
				return nil
			})
			for range 4 {
				go func() { _ = bus.Publish(context.Background(), created("1")) }()
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
			if _, err := bus.Shutdown(ctx); !errors.Is(err, router.ErrCloseTimeout) {
				t.Fatal(err)
			}
			cancel()
			synctest.Wait()
			if n, _ := bus.DeadLetters().Count(t.Context()); n != 0 {
				t.Fatalf("%d letters, want none", n)
			}
		}
	})
}

// A handler that gave up on an event that goes back as a whole has no letter.
func TestHandlerStats_DeadLettersAreLetters(t *testing.T) {
	bus := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	on(t, bus, "permanent", func(context.Context, OrderCreated) error { return middleware.Permanent(errors.New("no")) })
	on(t, bus, "waits", func(ctx context.Context, _ OrderCreated) error { cancel(); <-ctx.Done(); return ctx.Err() })
	if err := bus.Publish(ctx, created("1")); !errors.Is(err, eventbus.ErrUnknown) {
		t.Errorf("err = %v", err)
	}
	for _, h := range bus.HandlerStats() {
		if h.DeadLetters != 0 {
			t.Errorf("%+v", h)
		}
	}
}
