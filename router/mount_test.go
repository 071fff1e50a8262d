package router_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

// bus is a Mounter that drains, as eventbus.Bus does.
type bus struct {
	sub    *router.Subscriber
	topics []string
	fn     message.NoPublishHandlerFunc
	drains atomic.Int64
	err    error
}

func (b *bus) Mount(r *message.Router) error {
	for _, topic := range b.topics {
		r.AddConsumerHandler("bus-"+topic, topic, b.sub, b.fn)
	}
	return b.err
}

func (b *bus) Drain(ctx context.Context) (router.Report, error) {
	b.drains.Add(1)
	return b.sub.Drain(ctx)
}

func TestMount_BusesAndHandlersSideBySideDrainTogether(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("mounted", 1)
	broker.add("plain", 1)
	r := newRouter(t, router.Config{})
	var started atomic.Int64
	release := make(chan struct{})
	slow := func(m *message.Message) error {
		started.Add(1)
		<-release
		return m.Context().Err()
	}
	b := &bus{sub: router.Decorate(broker, router.DrainConfig{}), topics: []string{"mounted"}, fn: slow}
	if err := r.Mount(b); err != nil {
		t.Fatal(err)
	}
	consume(t, r, "plain", "plain", broker, slow)
	run(t, r)
	eventually(t, "both are at work", func() bool { return started.Load() == 2 })
	result := make(chan drained, 1)
	go func() {
		report, err := r.Shutdown(t.Context())
		result <- drained{report, err}
	}()
	eventually(t, "the drain has begun", func() bool { return !r.Health().Ready })
	close(release)
	got := within(t, 5*time.Second, "Shutdown", result)
	if got.err != nil || got.report.Finished != 2 || got.report.HandedBack != 0 {
		t.Errorf("Shutdown = %+v, %v, want 2 finished", got.report, got.err)
	}
	if left := broker.unacked(); len(left) != 0 || b.drains.Load() != 1 {
		t.Errorf("unacked = %v, drained %d times", left, b.drains.Load())
	}
}

func TestMount_WhileRunning(t *testing.T) {
	broker := newScripted(0)
	broker.add("t", 1)
	r := newRouter(t, router.Config{})
	run(t, r)
	var n atomic.Int64
	if err := r.Mount(&bus{sub: router.Decorate(broker, router.DrainConfig{}), topics: []string{"t"}, fn: count(&n)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message is handled", func() bool { return n.Load() == 1 })

	again := &bus{sub: router.Decorate(broker, router.DrainConfig{}), topics: []string{"t"}, fn: count(&n)}
	if err := r.Mount(again); !errors.Is(err, router.ErrDuplicateHandler) {
		t.Errorf("Mount of a name that is taken = %v, want ErrDuplicateHandler", err)
	}
	refused := errors.New("no such topic")
	failing := &bus{topics: []string{"failing"}, fn: count(&n), sub: router.Decorate(subscriberFunc(
		func(context.Context, string) (<-chan *message.Message, error) { return nil, refused },
	), router.DrainConfig{})}
	if err := r.Mount(failing); !errors.Is(err, refused) {
		t.Errorf("Mount = %v, want the error of its Subscribe", err)
	}
	if err := r.Mount(nil); err == nil {
		t.Error("Mount(nil) = nil")
	}
	if err := r.Mount(&bus{err: refused, sub: router.Decorate(broker, router.DrainConfig{})}); !errors.Is(err, refused) {
		t.Errorf("Mount = %v, want the mounter's error", err)
	}
	if _, err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Mount(again); !errors.Is(err, router.ErrClosed) {
		t.Errorf("Mount after Shutdown = %v, want ErrClosed", err)
	}
}

func TestMount_SubscribeThatFailsEndsRun(t *testing.T) {
	refused := errors.New("no such topic")
	r := newRouter(t, router.Config{})
	broker := newScripted(0)
	var n atomic.Int64
	b := &bus{topics: []string{"a", "b", "c"}, fn: count(&n), sub: router.Decorate(subscriberFunc(
		func(ctx context.Context, topic string) (<-chan *message.Message, error) {
			if topic == "b" {
				return nil, refused
			}
			return broker.Subscribe(ctx, topic)
		}), router.DrainConfig{})}
	if err := r.Mount(b); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := r.Run(t.Context()); !errors.Is(err, refused) {
		t.Errorf("Run = %v, want the cause", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Run took %v to fail", took)
	}
	broker.subs.Wait()
}

// As a signal plugin would, with nothing but a bus on the router.
func TestMount_ClosingTheWatermillRouterDrainsTheBus(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("t", 1)
	r := newRouter(t, router.Config{})
	started, release := make(chan struct{}), make(chan struct{})
	b := &bus{sub: router.Decorate(broker, router.DrainConfig{}), topics: []string{"t"}, fn: func(m *message.Message) error {
		close(started)
		<-release
		return m.Context().Err()
	}}
	if err := r.Mount(b); err != nil {
		t.Fatal(err)
	}
	rs := run(t, r)
	within(t, 5*time.Second, "the handler", started)
	closed := make(chan error, 1)
	go func() { closed <- r.Watermill().Close() }()
	eventually(t, "the router drains the bus", func() bool { return r.Health().Reason == "draining" && b.drains.Load() == 1 })
	close(release)
	if err := errors.Join(within(t, 5*time.Second, "Close", closed), within(t, 5*time.Second, "Run", rs.ran)); err != nil {
		t.Error(err)
	}
	if left := broker.unacked(); len(left) != 0 {
		t.Errorf("unacked = %v, want none", left)
	}
}

// What could not be mounted may run somewhere else: it is not drained.
func TestMount_WhatFailedIsNotDrained(t *testing.T) {
	r := newRouter(t, router.Config{})
	refused := errors.New("runs elsewhere")
	b := &bus{err: refused}
	if err := r.Mount(b); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	run(t, r)
	if _, err := r.Shutdown(t.Context()); err != nil || b.drains.Load() != 0 {
		t.Errorf("shutdown: %v, drained %d times", err, b.drains.Load())
	}
}
