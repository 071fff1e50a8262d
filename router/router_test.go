package router_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/router"
)

// runs is a router at work.
type runs struct {
	*router.Router
	stop context.CancelFunc
	ran  chan error
}

func newRouter(t *testing.T, cfg router.Config) *router.Router {
	t.Helper()
	r, err := router.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return r
}

// run runs the router until the test ends, and waits until it is running.
func run(t *testing.T, r *router.Router) *runs {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	rs := &runs{Router: r, stop: cancel, ran: make(chan error, 1)}
	go func() { rs.ran <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		// Ignored: the test has looked at it, and may have wanted a time-out.
		_, _ = r.Shutdown(context.Background())
	})
	select {
	case <-r.Running():
	case err := <-rs.ran:
		t.Fatalf("Run: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("timed out waiting for Running")
	}
	return rs
}

// newGoChannel is closed when the test ends: after the router, which the test
// runs later.
func newGoChannel(tb testing.TB) *gochannel.GoChannel {
	tb.Helper()
	ps := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	tb.Cleanup(func() {
		if err := ps.Close(); err != nil {
			tb.Error(err)
		}
	})
	return ps
}

func consume(t *testing.T, r *router.Router, name, topic string, sub message.Subscriber, fn message.NoPublishHandlerFunc, opts ...router.HandlerOption) *router.Handler {
	t.Helper()
	h, err := r.AddConsumerHandler(name, topic, sub, fn, opts...)
	if err != nil {
		t.Fatalf("AddConsumerHandler: %v", err)
	}
	return h
}

func count(n *atomic.Int64) message.NoPublishHandlerFunc {
	return func(*message.Message) error { n.Add(1); return nil }
}

func TestRouter_RunTwice(t *testing.T) {
	r := newRouter(t, router.Config{})
	run(t, r)
	if err := r.Run(t.Context()); !errors.Is(err, router.ErrRunning) {
		t.Errorf("second Run = %v, want ErrRunning", err)
	}
}

func TestRouter_MiddlewareAndPluginsAsInWatermill(t *testing.T) {
	ps := newGoChannel(t)
	r := newRouter(t, router.Config{})
	var mu sync.Mutex
	var order []string
	step := func(name string) message.HandlerMiddleware {
		return func(h message.HandlerFunc) message.HandlerFunc {
			return func(m *message.Message) ([]*message.Message, error) {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				return h(m)
			}
		}
	}
	plugged := 0
	err := errors.Join(
		r.AddMiddleware(step("router 1"), step("router 2")),
		r.AddPlugin(func(*message.Router) error { plugged++; return nil }),
	)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	consume(t, r, "h", "t", ps, func(m *message.Message) error {
		done <- message.HandlerNameFromCtx(m.Context()) + " " + message.SubscriberNameFromCtx(m.Context())
		return nil
	}, router.WithMiddleware(step("own 1"), step("own 2")))
	run(t, r)
	if err := ps.Publish("t", message.NewMessage("1", nil)); err != nil {
		t.Fatal(err)
	}
	if got := within(t, 5*time.Second, "the message", done); got != "h gochannel.GoChannel" {
		t.Errorf("handler and subscriber in the context = %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(order, ", "); got != "router 1, router 2, own 1, own 2" || plugged != 1 {
		t.Errorf("order = %s, plugins ran %d times", got, plugged)
	}
	if err := r.AddMiddleware(step("late")); !errors.Is(err, router.ErrRunning) {
		t.Errorf("AddMiddleware while running = %v, want ErrRunning", err)
	}
	if err := r.AddPlugin(func(*message.Router) error { return nil }); !errors.Is(err, router.ErrRunning) {
		t.Errorf("AddPlugin while running = %v, want ErrRunning", err)
	}
}

func TestRouter_PluginThatFailsEndsRun(t *testing.T) {
	r := newRouter(t, router.Config{})
	refused := errors.New("no")
	if err := r.AddPlugin(func(*message.Router) error { return refused }); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	h := consume(t, r, "h", "t", newScripted(0), count(&n))
	start := time.Now()
	if err := r.Run(t.Context()); !errors.Is(err, refused) {
		t.Errorf("Run = %v, want the plugin's error", err)
	}
	if time.Since(start) > 5*time.Second {
		t.Errorf("Run took %v to fail", time.Since(start))
	}
	within(t, time.Second, "the handler that never ran to be stopped", h.Stopped())
}

func TestRouter_SubscribeThatFailsEndsRunAndDrainsTheOthers(t *testing.T) {
	refused := errors.New("no such topic")
	broker := newScripted(time.Millisecond)
	r := newRouter(t, router.Config{})
	var n atomic.Int64
	first := consume(t, r, "first", "t", broker, count(&n))
	consume(t, r, "second", "u", subscriberFunc(func(context.Context, string) (<-chan *message.Message, error) {
		return nil, refused
	}), count(&n))
	err := r.Run(t.Context())
	var he *router.HandlerError
	if !errors.Is(err, refused) || !errors.As(err, &he) || he.Handler != "second" {
		t.Errorf("Run = %v, want a HandlerError of second with the cause", err)
	}
	within(t, time.Second, "first to be stopped", first.Stopped())
	broker.subs.Wait()
	if h := r.Health(); h.Live || h.Ready {
		t.Errorf("Health = %+v", h)
	}
}

func TestRouter_EndOfTheContextWhileStartingIsACleanStop(t *testing.T) {
	r := newRouter(t, router.Config{})
	var n atomic.Int64
	subscribing := make(chan struct{})
	consume(t, r, "h", "t", subscriberFunc(func(ctx context.Context, _ string) (<-chan *message.Message, error) {
		close(subscribing)
		<-ctx.Done() // the broker does not answer
		return nil, ctx.Err()
	}), count(&n))
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	within(t, 5*time.Second, "Subscribe", subscribing)
	cancel()
	if err := within(t, 5*time.Second, "Run", ran); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestNew_ReportsEveryMistake(t *testing.T) {
	_, err := router.New(router.Config{DrainTimeout: -1, SettleTimeout: -1})
	if err == nil || !strings.Contains(err.Error(), "DrainTimeout") || !strings.Contains(err.Error(), "SettleTimeout") {
		t.Errorf("New = %v, want both fields named", err)
	}
}
