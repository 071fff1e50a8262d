package membus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type OrderCreated struct {
	eventbus.Base
	CustomerID string   `json:"customer_id"`
	Items      []string `json:"items"`
}

type OrderShipped struct {
	eventbus.Base
	TrackingNumber string `json:"tracking_number"`
}

func registry(t testing.TB) *eventbus.Registry {
	t.Helper()
	reg := eventbus.NewRegistry()
	if err := errors.Join(
		eventbus.Register[OrderCreated](reg, "OrderCreated", eventbus.AggregateType("Order")),
		eventbus.Register[OrderShipped](reg, "OrderShipped", eventbus.AggregateType("Order")),
	); err != nil {
		t.Fatal(err)
	}
	return reg
}

func open(t testing.TB, alter ...func(*membus.Config)) *eventbus.Bus {
	t.Helper()
	cfg := membus.Config{Registry: registry(t), Retry: middleware.Retry{MaxRetries: 2, BaseDelay: 10 * time.Millisecond, Jitter: middleware.NoJitter}}
	for _, a := range alter {
		a(&cfg)
	}
	bus, err := membus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := bus.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return bus
}

func on[T any, P eventbus.EventPtr[T]](t testing.TB, bus *eventbus.Bus, name string, h func(context.Context, T) error, opts ...eventbus.SubscribeOption) *eventbus.Subscription {
	t.Helper()
	s, err := eventbus.Subscribe[T, P](bus, name, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func created(id string) *OrderCreated {
	return &OrderCreated{Base: eventbus.NewBase(id), CustomerID: "c-1", Items: []string{"tea"}}
}

func TestHandlers_OnlyTheOneThatFailedRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := open(t)
		var good, bad int
		on(t, bus, "good", func(context.Context, OrderCreated) error { good++; return nil })
		on(t, bus, "bad", func(_ context.Context, e OrderCreated) error {
			bad++
			return fmt.Errorf("attempt %d", bad)
		})
		if err := bus.Publish(t.Context(), created("order-1")); err != nil {
			t.Fatalf("handler errors must not reach the publisher: %v", err)
		}
		if good != 1 || bad != 3 {
			t.Errorf("good ran %d times, bad %d; want 1 and 3", good, bad)
		}
		letter := only(t, bus)
		if !slices.Equal(letter.Handlers, []string{"bad"}) || letter.Attempts != 3 || !strings.Contains(letter.ErrorMessage, "attempt 3") {
			t.Errorf("letter = %+v", letter)
		}
		if letter.Key != "order-1" || letter.Group != "default" || letter.Source.Topic != "events" {
			t.Errorf("letter = %+v", letter)
		}
		var payload struct {
			EventType string `json:"event_type"`
			Items     []string
		}
		if err := json.Unmarshal(letter.Payload, &payload); err != nil || payload.EventType != "OrderCreated" || len(payload.Items) != 1 {
			t.Errorf("payload %s: %v", letter.Payload, err)
		}
		s := bus.Stats()
		if s.HandlersInvoked != 4 || s.HandlerErrors != 3 || s.Retries != 2 || s.EventsProcessedFailed != 1 || s.MessagesSentToDLQ != 1 || s.EventsConsumed != 1 {
			t.Errorf("stats = %+v", s)
		}
	})
}

func only(t *testing.T, bus *eventbus.Bus) dlq.Letter {
	t.Helper()
	var letters []dlq.Letter
	for l, err := range bus.DeadLetters().List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, l)
	}
	if len(letters) != 1 {
		t.Fatalf("%d letters, want 1: %+v", len(letters), letters)
	}
	return letters[0]
}

func TestReplay_RunsTheFailedHandlerOnly(t *testing.T) {
	bus := open(t, func(c *membus.Config) { c.Retry.MaxRetries = middleware.NoRetries })
	var good, bad int
	mended := false
	var seen OrderCreated
	on(t, bus, "good", func(context.Context, OrderCreated) error { good++; return nil })
	on(t, bus, "bad", func(_ context.Context, e OrderCreated) error {
		bad++
		if !mended {
			panic("not yet")
		}
		seen = e
		return nil
	})
	e := created("order-1")
	if err := bus.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	letter := only(t, bus)
	mended = true
	if err := bus.DeadLetters().Replay(t.Context(), letter.ID); err != nil {
		t.Fatal(err)
	}
	if good != 1 || bad != 2 || seen.EventID != e.EventID || !slices.Equal(seen.Items, e.Items) {
		t.Errorf("good %d, bad %d, seen %+v", good, bad, seen)
	}
	if n, err := bus.DeadLetters().Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d letters left, %v", n, err)
	}
}

func TestHandlers_ChangesOfOneAreNotSeenByOthers(t *testing.T) {
	bus := open(t, func(c *membus.Config) { c.Retry.BaseDelay = time.Millisecond })
	attempt := 0
	on(t, bus, "a", func(_ context.Context, e OrderCreated) error {
		attempt++
		if e.CustomerID != "c-1" {
			t.Errorf("attempt %d sees %q", attempt, e.CustomerID)
		}
		e.CustomerID = "changed"
		if attempt == 1 {
			return errors.New("again")
		}
		return nil
	})
	e := created("order-1")
	if err := bus.Publish(t.Context(), e); err != nil || e.CustomerID != "c-1" {
		t.Errorf("err %v, publisher's event %q", err, e.CustomerID)
	}
}

func TestShutdown_AtTheDeadlineContextsEndWithACause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, err := membus.New(membus.Config{Registry: registry(t)})
		if err != nil {
			t.Fatal(err)
		}
		var cause error
		on(t, bus, "waits", func(ctx context.Context, _ OrderCreated) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		})
		published := make(chan error, 1)
		go func() { published <- bus.Publish(t.Context(), created("1")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		report, err := bus.Shutdown(ctx)
		if !errors.Is(err, router.ErrCloseTimeout) || report.HandedBack != 1 || report.Finished != 0 {
			t.Errorf("report %+v, err %v", report, err)
		}
		if err := <-published; !errors.Is(err, eventbus.ErrUnknown) || !errors.Is(cause, router.ErrDrainDeadline) {
			t.Errorf("publish: %v; cause: %v", err, cause)
		}
		if n, _ := bus.DeadLetters().Count(t.Context()); n != 0 {
			t.Errorf("%d letters, want none", n)
		}
	})
}

func TestShutdown_RunningHandlersFinishAndMayPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, err := membus.New(membus.Config{Registry: registry(t)})
		if err != nil {
			t.Fatal(err)
		}
		shipped := 0
		on(t, bus, "slow", func(ctx context.Context, e OrderCreated) error {
			time.Sleep(time.Second) //nolint:forbidigo // the clock of synctest
			return bus.Publish(ctx, &OrderShipped{Base: eventbus.NewBase(e.AggregateID)})
		})
		on(t, bus, "ship", func(context.Context, OrderShipped) error { shipped++; return nil })
		done := make(chan error, 1)
		go func() { done <- bus.Publish(t.Context(), created("1")) }()
		synctest.Wait()
		report, err := bus.Shutdown(t.Context())
		if err != nil || report.Finished != 1 || shipped != 1 {
			t.Errorf("report %+v, err %v, shipped %d", report, err, shipped)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestMiddleware_SeesMessagesAsOnABroker(t *testing.T) {
	var atBus, atHandler *message.Message
	record := func(m **message.Message) message.HandlerMiddleware {
		return func(h message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) { *m = msg; return h(msg) }
		}
	}
	bus := open(t, func(c *membus.Config) {
		c.Middleware = []message.HandlerMiddleware{record(&atBus)}
		c.HandlerMiddleware = []message.HandlerMiddleware{record(&atHandler)}
	})
	on(t, bus, "h", func(context.Context, OrderCreated) error { return nil })
	if err := bus.Publish(t.Context(), created("order-1")); err != nil {
		t.Fatal(err)
	}
	for where, m := range map[string]*message.Message{"bus": atBus, "handler": atHandler} {
		if m.Metadata["event_type"] != "OrderCreated" || !strings.Contains(string(m.Payload), `"customer_id":"c-1"`) {
			t.Errorf("%s: metadata %v, payload %s", where, m.Metadata, m.Payload)
		}
	}
}

func TestConfig_NamesItsOwnFields(t *testing.T) {
	_, err := membus.New(membus.Config{Name: "a b"})
	if err == nil || !strings.Contains(err.Error(), "membus: Config.Name: ") || !strings.Contains(err.Error(), "membus: Config.Registry: ") || !errors.Is(err, eventbus.ErrInvalidName) {
		t.Errorf("err = %v", err)
	}
}
