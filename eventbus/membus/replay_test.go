package membus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

// A store that two buses share: the letter of one, replayed through the other,
// would be skipped there and gone.
func TestReplay_OfAnotherBusesLetterIsRefused(t *testing.T) {
	for name, other := range map[string]func(*membus.Config){
		"another group": func(c *membus.Config) { c.Group = "b" },
		"another name":  func(c *membus.Config) { c.Name = "b" },
	} {
		t.Run(name, func(t *testing.T) {
			store := dlq.NewMemStore(dlq.MemConfig{})
			shared := func(c *membus.Config) { c.DeadLetters, c.Retry.MaxRetries = store, middleware.NoRetries }
			a, b := open(t, shared), open(t, shared, other)
			on(t, a, "h", func(context.Context, OrderCreated) error { return nil })
			on(t, b, "h", func(context.Context, OrderCreated) error { return errors.New("no") })
			if err := b.Publish(t.Context(), created("1")); err != nil {
				t.Fatal(err)
			}
			err := a.DeadLetters().Replay(t.Context(), only(t, b).ID)
			var refused *dlq.ReplayError
			if n, _ := store.Count(t.Context()); n != 1 || !errors.As(err, &refused) || refused.Published {
				t.Errorf("replay: %v; %d letters left, want a *ReplayError and one", err, n)
			}
		})
	}
}

func TestReplay_EndsAtTheDeadlineOfAShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, err := membus.New(membus.Config{Registry: registry(t), Retry: middleware.Retry{MaxRetries: middleware.NoRetries}})
		if err != nil {
			t.Fatal(err)
		}
		fail := true
		stop := make(chan struct{})
		on(t, bus, "h", func(ctx context.Context, _ OrderCreated) error {
			if fail {
				return errors.New("x")
			}
			select {
			case <-ctx.Done():
			case <-stop:
			}
			return ctx.Err()
		})
		if err := bus.Publish(t.Context(), created("1")); err != nil {
			t.Fatal(err)
		}
		l := only(t, bus)
		fail = false
		done := make(chan error, 1)
		go func() { done <- bus.DeadLetters().Replay(context.Background(), l.ID) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := bus.Shutdown(ctx); !errors.Is(err, router.ErrCloseTimeout) {
			t.Errorf("shutdown: %v", err)
		}
		synctest.Wait()
		select {
		case err := <-done:
			if !errors.Is(err, router.ErrDrainDeadline) || only(t, bus).ID != l.ID {
				t.Errorf("replay: %v", err)
			}
		default:
			t.Error("the handler's context lives on")
			close(stop)
			<-done
		}
	})
}
