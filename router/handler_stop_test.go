package router_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

func TestHandler_StopDrainsItAloneAndTheLastOneDoesNotEndTheRouter(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("a", 2)
	r := newRouter(t, router.Config{})
	started, release := make(chan struct{}), make(chan struct{})
	a := consume(t, r, "a", "a", broker, func(m *message.Message) error {
		started <- struct{}{}
		<-release
		return m.Context().Err()
	})
	var n atomic.Int64
	b := consume(t, r, "b", "b", broker, count(&n))
	rs := run(t, r)
	within(t, 5*time.Second, "a's message", started)

	result := make(chan drained, 1)
	go func() {
		report, err := a.Stop(t.Context())
		result <- drained{report, err}
	}()
	broker.add("b", 1)
	eventually(t, "b goes on while a drains", func() bool { return n.Load() == 1 })
	release <- struct{}{}
	got := within(t, 5*time.Second, "Stop", result)
	if got.err != nil || got.report.Finished != 1 || got.report.HandedBack != 1 {
		t.Errorf("Stop = %+v, %v, want 1 finished, 1 handed back", got.report, got.err)
	}
	within(t, 5*time.Second, "Stopped", a.Stopped())
	if left := broker.unacked(); len(left) != 1 || left[0] != "a-2" {
		t.Errorf("unacked = %v, want a-2", left)
	}
	if report, err := a.Stop(t.Context()); err != nil || report != (router.Report{}) {
		t.Errorf("second Stop = %+v, %v, want zero and nil", report, err)
	}

	if _, err := b.Stop(t.Context()); err != nil {
		t.Errorf("Stop of the last = %v", err)
	}
	if h := r.Health(); !h.Ready {
		t.Errorf("Health = %+v, want ready: everything was stopped on purpose", h)
	}
	select {
	case err := <-rs.ran:
		t.Fatalf("Run returned %v when the last handler stopped", err)
	default:
	}
	broker.add("c", 1)
	c := consume(t, r, "a", "c", broker, count(&n)) // the name is free again
	eventually(t, "the new handler consumes", func() bool { return n.Load() == 2 })
	if c.Name() != "a" {
		t.Errorf("Name = %q", c.Name())
	}
}

func TestHandler_StopTimesOutOnAStuckHandler(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("t", 1)
	r := newRouter(t, router.Config{DrainTimeout: time.Second})
	started, release := make(chan struct{}), make(chan struct{})
	h := consume(t, r, "stuck", "t", broker, func(*message.Message) error {
		close(started)
		<-release
		return nil
	})
	run(t, r)
	within(t, 5*time.Second, "the handler", started)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	report, err := h.Stop(ctx)
	if !errors.Is(err, router.ErrCloseTimeout) || report.HandedBack != 1 {
		t.Errorf("Stop = %+v, %v, want 1 handed back and ErrCloseTimeout", report, err)
	}
	close(release)
}

func TestHandler_StopBeforeRunAndWhileItSubscribes(t *testing.T) {
	r := newRouter(t, router.Config{})
	var n atomic.Int64
	early := consume(t, r, "early", "t", newScripted(0), count(&n))
	if _, err := early.Stop(t.Context()); err != nil {
		t.Errorf("Stop before Run = %v", err)
	}
	within(t, time.Second, "Stopped", early.Stopped())
	subscribing := make(chan struct{})
	hanging := consume(t, r, "early", "t", subscriberFunc(func(ctx context.Context, _ string) (<-chan *message.Message, error) {
		close(subscribing)
		<-ctx.Done()
		return nil, ctx.Err()
	}), count(&n))
	go func() {
		<-subscribing
		if _, err := hanging.Stop(t.Context()); err != nil {
			t.Errorf("Stop while it subscribes = %v", err)
		}
	}()
	run(t, r) // it starts, without the handler
	within(t, 5*time.Second, "Stopped", hanging.Stopped())
}

// Middleware of a handler that has stopped stays in Watermill's router under
// its name.
func TestHandler_AddedAgainHasOnlyItsOwnMiddleware(t *testing.T) {
	broker := newScripted(0)
	r := newRouter(t, router.Config{})
	run(t, r)
	var calls, n atomic.Int64
	counting := router.WithMiddleware(func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) { calls.Add(1); return h(m) }
	})
	for i := range 3 {
		topic := fmt.Sprint("t", i)
		broker.add(topic, 1)
		h := consume(t, r, "h", topic, broker, count(&n), counting)
		eventually(t, "the message is handled", func() bool { return n.Load() == int64(i+1) })
		if _, err := h.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if calls.Load() != 3 {
		t.Errorf("the middleware ran %d times for 3 messages", calls.Load())
	}
}

// Fifty goroutines add and stop handlers while messages flow, then a shutdown.
func TestHandlers_AddAndStopFromEverywhere(t *testing.T) {
	broker := newScripted(0)
	r := newRouter(t, router.Config{})
	run(t, r)
	var n atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			topic := fmt.Sprint("t", i)
			broker.add(topic, 3)
			h, err := r.AddConsumerHandler(topic, topic, broker, count(&n))
			if err != nil {
				t.Errorf("add: %v", err)
				return
			}
			if i%2 == 0 {
				if _, err := h.Stop(t.Context()); err != nil {
					t.Errorf("stop: %v", err)
				}
			}
			r.Health()
		})
	}
	wg.Wait()
	eventually(t, "what was not stopped is handled", func() bool { return n.Load() >= 75 })
	if _, err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	broker.subs.Wait()
	if handled, left := int(n.Load()), len(broker.unacked()); handled+left != 150 {
		t.Errorf("%d handled and %d unacked of 150", handled, left)
	}
}
