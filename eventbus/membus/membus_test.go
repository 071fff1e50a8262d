package membus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

func TestFullStore_PublishWaitsAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := open(t, func(c *membus.Config) { c.MaxDeadLetters = 1; c.Retry.MaxRetries = middleware.NoRetries })
		on(t, bus, "bad", func(context.Context, OrderCreated) error { return errors.New("no") })
		if err := bus.Publish(t.Context(), created("1")); err != nil {
			t.Fatal(err)
		}
		second := make(chan error, 1)
		go func() { second <- bus.Publish(t.Context(), created("2")) }()
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of synctest
		select {
		case err := <-second:
			t.Fatalf("returned %v while the store is full", err)
		default:
		}
		if _, err := bus.DeadLetters().Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
		if l := only(t, bus); l.Key != "2" {
			t.Errorf("letter of %s, want 2", l.Key)
		}
	})
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

// The letter that is replayed still holds the only place when its handler
// fails again: the two must not wait for each other.
func TestReplay_IntoAFullStoreEnds(t *testing.T) {
	bus := open(t, func(c *membus.Config) { c.MaxDeadLetters = 1; c.Retry.MaxRetries = middleware.NoRetries })
	on(t, bus, "bad", func(context.Context, OrderCreated) error { return errors.New("no") })
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	if err := bus.DeadLetters().Replay(t.Context(), only(t, bus).ID); err != nil {
		t.Fatal(err)
	}
	if l := only(t, bus); l.Replays != 1 {
		t.Errorf("letter = %+v", l)
	}
}

func TestConfig_NamesItsOwnFields(t *testing.T) {
	_, err := membus.New(membus.Config{Name: "a b"})
	if err == nil || !strings.Contains(err.Error(), "membus: Config.Name: ") || !strings.Contains(err.Error(), "membus: Config.Registry: ") || !errors.Is(err, eventbus.ErrInvalidName) {
		t.Errorf("err = %v", err)
	}
}
