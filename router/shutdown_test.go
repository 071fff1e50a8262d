package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

func TestRouter_CancelOfRunDrains(t *testing.T) {
	broker := newScripted(3 * time.Millisecond)
	broker.add("t", 2)
	r := newRouter(t, router.Config{})
	started, release := make(chan context.Context), make(chan struct{})
	consume(t, r, "slow", "t", broker, func(m *message.Message) error {
		started <- m.Context()
		<-release
		return m.Context().Err()
	})
	rs := run(t, r)
	ctx := within(t, 5*time.Second, "the handler", started)
	rs.stop()
	eventually(t, "the router is not ready", func() bool { return !r.Health().Ready })
	if ctx.Err() != nil {
		t.Error("the message's context ended with Run's")
	}
	select {
	case err := <-rs.ran:
		t.Fatalf("Run returned %v while a handler was running", err)
	default:
	}
	close(release)
	if err := within(t, 5*time.Second, "Run", rs.ran); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if left := broker.unacked(); len(left) != 1 || left[0] != "t-2" {
		t.Errorf("unacked = %v, want t-2 alone", left)
	}
	if n := broker.sum(nacks); n != 0 || broker.isClosed() {
		t.Errorf("%d nacks, closed %v, want none and the subscriber open", n, broker.isClosed())
	}
}

func TestRouter_ShutdownReportsAndIsIdempotent(t *testing.T) {
	broker := newScripted(time.Millisecond)
	release := make(chan struct{})
	r := newRouter(t, router.Config{})
	var started atomic.Int64
	for i := range 3 {
		topic := fmt.Sprint("t", i)
		broker.add(topic, 1)
		consume(t, r, topic, topic, broker, func(*message.Message) error {
			started.Add(1)
			<-release
			if topic == "t2" {
				return errors.New("refused")
			}
			return nil
		})
	}
	rs := run(t, r)
	eventually(t, "all handlers run", func() bool { return started.Load() == 3 })

	result := make(chan drained, 1)
	go func() {
		report, err := r.Shutdown(t.Context())
		result <- drained{report, err}
	}()
	eventually(t, "the drain has begun", func() bool { return r.Health().Reason == "draining" })
	close(release)
	got := within(t, 5*time.Second, "Shutdown", result)

	if got.err != nil || got.report.Finished != 2 || got.report.HandedBack != 1 {
		t.Errorf("Shutdown = %+v, %v, want 2 finished, 1 handed back, nil", got.report, got.err)
	}
	if err := within(t, 5*time.Second, "Run", rs.ran); err != nil {
		t.Errorf("Run = %v", err)
	}
	if report, err := r.Shutdown(t.Context()); err != nil || report != got.report {
		t.Errorf("second Shutdown = %+v, %v, want the same as the first: %+v", report, err, got.report)
	}
	if err := r.Run(t.Context()); !errors.Is(err, router.ErrClosed) {
		t.Errorf("Run after Shutdown = %v, want ErrClosed", err)
	}
	if _, err := r.AddConsumerHandler("late", "t", broker, count(&started)); !errors.Is(err, router.ErrClosed) {
		t.Errorf("AddConsumerHandler after Shutdown = %v, want ErrClosed", err)
	}
}

func TestRouter_ShutdownBeforeRun(t *testing.T) {
	r := newRouter(t, router.Config{})
	for range 2 {
		if report, err := r.Shutdown(t.Context()); err != nil || report != (router.Report{}) {
			t.Errorf("Shutdown = %+v, %v, want zero and nil", report, err)
		}
	}
	if err := r.Run(t.Context()); !errors.Is(err, router.ErrClosed) {
		t.Errorf("Run = %v, want ErrClosed", err)
	}
}

func TestRouter_IdleShutdownTakesMilliseconds(t *testing.T) {
	ps := newGoChannel(t)
	r := newRouter(t, router.Config{})
	var n atomic.Int64
	for i := range 20 {
		consume(t, r, fmt.Sprint("h", i), fmt.Sprint("t", i), ps, count(&n))
	}
	run(t, r)
	start := time.Now()
	if _, err := r.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if took := time.Since(start); took > router.DefaultDrainTimeout/10 {
		t.Errorf("took %v, want next to nothing of the drain timeout", took)
	}
}

func TestRouter_HandlerThatOutlivesTheDeadlineDoesNotHangTheShutdown(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("t", 1)
	r := newRouter(t, router.Config{DrainTimeout: time.Second})
	started, release := make(chan context.Context), make(chan struct{})
	consume(t, r, "stuck", "t", broker, func(m *message.Message) error {
		started <- m.Context()
		<-release // its context is of no interest to it
		return nil
	})
	rs := run(t, r)
	ctx := within(t, 5*time.Second, "the handler", started)
	defer close(release)

	deadline, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	report, err := r.Shutdown(deadline)

	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Shutdown took %v, want the deadline and little more", took)
	}
	if !errors.Is(err, router.ErrCloseTimeout) || !strings.Contains(err.Error(), "stuck") {
		t.Errorf("Shutdown = %v, want ErrCloseTimeout that names the handler", err)
	}
	if report.HandedBack != 1 {
		t.Errorf("report = %+v, want 1 handed back", report)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, router.ErrDrainDeadline) {
		t.Errorf("cause = %v, want ErrDrainDeadline", cause)
	}
	if err := within(t, 5*time.Second, "Run", rs.ran); !errors.Is(err, router.ErrCloseTimeout) {
		t.Errorf("Run = %v, want ErrCloseTimeout", err)
	}
	if len(broker.unacked()) != 1 {
		t.Error("the message of the stuck handler was acked")
	}
}

func TestRouter_ShutdownWhileStarting(t *testing.T) {
	r := newRouter(t, router.Config{})
	var n atomic.Int64
	subscribing := make(chan struct{})
	consume(t, r, "h", "t", subscriberFunc(func(ctx context.Context, _ string) (<-chan *message.Message, error) {
		close(subscribing)
		<-ctx.Done()
		return nil, ctx.Err()
	}), count(&n))
	consume(t, r, "next", "t", newScripted(0), count(&n))
	ran := make(chan error, 1)
	go func() { ran <- r.Run(t.Context()) }()
	within(t, 5*time.Second, "Subscribe", subscribing)
	if _, err := r.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := within(t, 5*time.Second, "Run", ran); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// Right after Run was called, before Watermill's router is up.
func TestRouter_ShutdownRacesWithRun(t *testing.T) {
	for range 50 {
		r := newRouter(t, router.Config{})
		broker := newScripted(0)
		var n atomic.Int64
		consume(t, r, "h", "t", broker, count(&n))
		ran := make(chan error, 1)
		go func() { ran <- r.Run(t.Context()) }()
		if _, err := r.Shutdown(t.Context()); err != nil {
			t.Fatalf("Shutdown = %v", err)
		}
		err := within(t, 5*time.Second, "Run", ran)
		if err != nil && !errors.Is(err, router.ErrClosed) {
			t.Fatalf("Run = %v, want nil or ErrClosed", err)
		}
		broker.subs.Wait()
	}
}

// Watermill's own signal plugin does this.
func TestRouter_ClosingTheWatermillRouterDrains(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("t", 1)
	r := newRouter(t, router.Config{})
	started, release := make(chan struct{}), make(chan struct{})
	consume(t, r, "h", "t", broker, func(m *message.Message) error {
		close(started)
		<-release
		return m.Context().Err()
	})
	rs := run(t, r)
	within(t, 5*time.Second, "the handler", started)
	closed := make(chan error, 1)
	go func() { closed <- r.Watermill().Close() }()
	eventually(t, "the router drains", func() bool { return r.Health().Reason == "draining" })
	close(release)
	if err := errors.Join(within(t, 5*time.Second, "Close", closed), within(t, 5*time.Second, "Run", rs.ran)); err != nil {
		t.Error(err)
	}
	if left := broker.unacked(); len(left) != 0 {
		t.Errorf("unacked = %v, want none", left)
	}
}
