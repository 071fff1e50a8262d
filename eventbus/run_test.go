package eventbus_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

const patience = 20 * time.Second

func pubsub(t testing.TB) *gochannel.GoChannel {
	t.Helper()
	ps := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 100}, watermill.NopLogger{})
	t.Cleanup(func() { _ = ps.Close() })
	return ps
}

// over opens a bus on a gochannel, with letters in memory and fast retries.
func over(t testing.TB, ps *gochannel.GoChannel, alter ...func(*eventbus.Config)) *eventbus.Bus {
	t.Helper()
	cfg := eventbus.Config{
		Publisher: ps, Subscriber: ps, Registry: shop(t), Topic: "orders", DeadLetters: dlq.NewMemStore(dlq.MemConfig{}),
		Retry: middleware.Retry{MaxRetries: 2, BaseDelay: time.Millisecond}, Logger: slog.New(slog.DiscardHandler),
	}
	for _, a := range alter {
		a(&cfg)
	}
	bus, err := eventbus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return bus
}

// run runs the bus until the test ends, and waits until it consumes.
func run(t testing.TB, bus *eventbus.Bus) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- bus.Run(context.Background()) }()
	t.Cleanup(func() {
		if _, err := bus.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := receive(t, done); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	select {
	case <-bus.Running():
	case err := <-done:
		t.Fatalf("run ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the bus does not consume")
	}
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestRun_CarriesEventsThroughAnyPubSub(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps)
	got := make(chan OrderShipped, 1)
	var failures atomic.Int32
	if _, err := eventbus.Subscribe(bus, "fails-once", func(context.Context, OrderShipped) error {
		if failures.Add(1) == 1 {
			return errors.New("once")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := eventbus.Subscribe(bus, "gets", func(_ context.Context, e OrderShipped) error { got <- e; return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)

	e := &OrderShipped{Base: eventbus.NewBase("order-1"), TrackingNumber: "ü-1"}
	e.Metadata = map[string]any{"k": "v"}
	if err := bus.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}

	r := receive(t, got)
	if r.EventID != e.EventID || !r.OccurredAt.Equal(e.OccurredAt) || r.TrackingNumber != "ü-1" || r.Metadata["k"] != "v" || r.EventType != "OrderShipped" {
		t.Errorf("got %+v, published %+v", r, e)
	}
	wait(t, "one success", func() bool { s := bus.Stats(); return s.EventsProcessedSuccess == 1 && s.Retries == 1 })
	select {
	case again := <-got:
		t.Errorf("the handler that succeeded ran again: %+v", again)
	default:
	}
}

// wait polls what has no channel of its own.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// A bus on the user's own router: the owner closes it, and that drains.
func TestMount_OnARouterThatSomebodyElseOwns(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps)
	started, release := make(chan struct{}), make(chan struct{})
	var ctxErr error
	if _, err := eventbus.Subscribe(bus, "slow", func(ctx context.Context, _ OrderCreated) error {
		close(started)
		<-release
		ctxErr = ctx.Err()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: patience}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	plain := make(chan string, 1)
	r.AddConsumerHandler("plain", "other", ps, func(m *message.Message) error { plain <- string(m.Payload); return nil })
	if err := bus.Mount(r); err != nil {
		t.Fatal(err)
	}
	if err := bus.Run(t.Context()); !errors.Is(err, eventbus.ErrRunning) {
		t.Errorf("run after mount: %v", err)
	}
	twin := over(t, ps)
	if err := twin.Mount(r); !errors.Is(err, eventbus.ErrDuplicate) {
		t.Errorf("a second bus of the same topic and group: %v, want ErrDuplicate", err)
	}
	ran := make(chan error, 1)
	go func() { ran <- r.Run(context.Background()) }()
	<-r.Running()
	if err := ps.Publish("other", message.NewMessage("1", []byte("beside"))); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, plain); got != "beside" {
		t.Errorf("plain handler got %q", got)
	}
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	receive(t, started)
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	wait(t, "the drain has begun", func() bool { return bus.Draining() })
	close(release)
	if err := errors.Join(receive(t, closed), receive(t, ran)); err != nil {
		t.Error(err)
	}
	if ctxErr != nil {
		t.Errorf("the handler's context had ended: %v", ctxErr)
	}
	if s := bus.Stats(); s.EventsProcessedSuccess != 1 || s.EventsHandedBack != 0 || s.MessagesSentToDLQ != 0 {
		t.Errorf("stats = %+v", s)
	}
	if report, err := bus.Shutdown(t.Context()); err != nil || report.Finished != 1 || report.HandedBack != 0 {
		t.Errorf("the report of what the router's close drained: %+v, %v; want 1 finished", report, err)
	}
	if _, err := twin.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// Without a store the letters are safe on a topic, and whoever asks for them is
// told what to set; never that there are none.
func TestDeadLetters_WithoutAStoreAreBuriedAndNotListed(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps, func(c *eventbus.Config) { c.DeadLetters = nil; c.Retry.MaxRetries = middleware.NoRetries })
	letters, err := ps.Subscribe(t.Context(), "orders.dlq")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, OrderCreated) error { return errors.New("no") }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	m := receive(t, letters)
	m.Ack()
	if l, err := dlq.FromMessage(m); err != nil || !slices.Equal(l.Handlers, []string{"h"}) {
		t.Errorf("letter %+v, %v", l, err)
	}
	if _, err := bus.DeadLetters().Count(t.Context()); !errors.Is(err, dlq.ErrUnavailable) || !strings.Contains(err.Error(), "Config.DeadLetters") {
		t.Errorf("count: %v", err)
	}
}

func TestRun_WithoutSubscriber(t *testing.T) {
	bus := open(t, &scripted{})
	if err := bus.Run(t.Context()); !errors.Is(err, eventbus.ErrNoSubscriber) {
		t.Errorf("err = %v", err)
	}
}

func TestRun_CancellingDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := pubsub(t)
		bus := over(t, ps)
		started, release := make(chan struct{}), make(chan struct{})
		if _, err := eventbus.Subscribe(bus, "slow", func(context.Context, OrderCreated) error { close(started); <-release; return nil }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- bus.Run(ctx) }()
		receive(t, bus.Running())
		if err := bus.Publish(t.Context(), created("1")); err != nil {
			t.Fatal(err)
		}
		receive(t, started)
		cancel()
		synctest.Wait() // the drain waits for the handler
		close(release)
		if err := receive(t, ran); err != nil {
			t.Errorf("run: %v", err)
		}
		report, err := bus.Shutdown(t.Context())
		if err != nil || report.Finished != 1 || report.HandedBack != 0 {
			t.Errorf("report %+v, %v", report, err)
		}
		if again, err := bus.Shutdown(t.Context()); err != nil || again != report {
			t.Errorf("the second Shutdown: %+v, %v, want %+v", again, err, report)
		}
		if again, err := bus.Drain(t.Context()); err != nil || again.Finished != 1 || again.HandedBack != 0 {
			t.Errorf("the Drain after it: %+v, %v", again, err)
		}
	})
}

func TestChain_IsPrinted(t *testing.T) {
	bus := over(t, pubsub(t), func(c *eventbus.Config) {
		c.HandlerTimeout = time.Second
		c.Middleware = []message.HandlerMiddleware{middleware.Named("tenants", func(h message.HandlerFunc) message.HandlerFunc { return h })}
	})
	if _, err := eventbus.Subscribe(bus, "mail", func(context.Context, OrderCreated) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.SubscribeToAllEvents("audit", eventbus.HandlerFunc(func(context.Context, eventbus.Event) error { return nil }), eventbus.WithTimeout(eventbus.NoTimeout)); err != nil {
		t.Fatal(err)
	}
	const want = `message: Recover > Trace > DeadLetter > Recover > tenants > dispatch
audit on all events: Retry > Stats > Trace > Recover > handler
mail on OrderCreated: Retry > Stats > Timeout > Trace > Recover > handler
`
	if got := bus.Chain(); got != want {
		t.Errorf("chain:\n%s\nwant:\n%s", got, want)
	}
}
