package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

func TestAddHandler_ReportsEveryMistake(t *testing.T) {
	r := newRouter(t, router.Config{})
	broker := newScripted(0)
	_, err := r.AddHandler("two words", "", nil, "", nil, nil,
		router.WithConcurrency(0), router.WithKey(nil), router.WithMiddleware(nil))
	var he *router.HandlerError
	if !errors.As(err, &he) || he.Handler != "two words" {
		t.Fatalf("err = %v, want a HandlerError", err)
	}
	for _, want := range []string{"spaces", "topic", "subscriber", "publisher", "handler function", "WithConcurrency", "WithKey", "WithMiddleware"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
	var n atomic.Int64
	for _, name := range []string{"", "a b", "a,b", "a\n", "\xff", strings.Repeat("x", 1<<20)} {
		if _, err := r.AddConsumerHandler(name, "t", broker, count(&n)); err == nil {
			t.Errorf("the name %.20q was accepted", name)
		}
	}
	if _, err := r.AddConsumerHandler("ok", "t", broker, nil); err == nil {
		t.Error("a nil function was accepted")
	}
	if _, err := r.AddConsumerHandler("ok", "t", router.Decorate(broker, router.DrainConfig{}), count(&n), router.WithConcurrency(2)); err == nil {
		t.Error("WithConcurrency was accepted for a subscriber that has its own")
	}
}

func TestAddHandler_DuplicateNamesAreErrors(t *testing.T) {
	r := newRouter(t, router.Config{})
	broker := newScripted(0)
	var n atomic.Int64
	consume(t, r, "h", "t", broker, count(&n))
	if _, err := r.AddConsumerHandler("h", "u", broker, count(&n)); !errors.Is(err, router.ErrDuplicateHandler) {
		t.Errorf("before Run: %v, want ErrDuplicateHandler", err)
	}
	r.Watermill().AddConsumerHandler("theirs", "t", router.Decorate(broker, router.DrainConfig{}), count(&n))
	run(t, r)
	for _, name := range []string{"h", "theirs", "leat.keep-alive"} {
		if h, err := r.AddConsumerHandler(name, "u", broker, count(&n)); !errors.Is(err, router.ErrDuplicateHandler) || h != nil {
			t.Errorf("%s while running: %v, %v, want ErrDuplicateHandler", name, h, err)
		}
	}
}

func TestHandlers_AddedWhileRunningStartAtOnce(t *testing.T) {
	ps := newGoChannel(t)
	r := newRouter(t, router.Config{})
	run(t, r) // without any
	var n atomic.Int64
	consume(t, r, "h", "t", ps, count(&n))
	if err := ps.Publish("t", message.NewMessage("1", nil)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message is handled", func() bool { return n.Load() == 1 })

	refused := errors.New("no such topic")
	_, err := r.AddConsumerHandler("failing", "u", subscriberFunc(func(context.Context, string) (<-chan *message.Message, error) {
		return nil, refused
	}), count(&n))
	if !errors.Is(err, refused) {
		t.Errorf("AddConsumerHandler = %v, want the cause", err)
	}
	consume(t, r, "failing", "t", ps, count(&n)) // the name is free again
	if h := r.Health(); !h.Ready {
		t.Errorf("Health = %+v: a handler that was refused is not lost", h)
	}
}

func TestHandlers_SubscriptionThatEndsByItselfIsNotReadyAndNotLive(t *testing.T) {
	flood := newFlood(1, func(int) string { return "" })
	r := newRouter(t, router.Config{})
	var n atomic.Int64
	h := consume(t, r, "lost", "t", flood, count(&n))
	rs := run(t, r)
	eventually(t, "the message is handled", func() bool { return n.Load() == 1 })
	flood.end()
	within(t, 5*time.Second, "Stopped", h.Stopped())
	got := r.Health()
	if got.Live || got.Ready || !strings.Contains(got.Reason, "lost") {
		t.Errorf("Health = %+v, want neither, with the handler's name", got)
	}
	select {
	case err := <-rs.ran:
		t.Errorf("Run returned %v, want the router to go on", err)
	default:
	}
}

// plainDrainer is a Drainer of the user's without DrainSubscription.
type plainDrainer struct {
	*scripted
	drains atomic.Int64
}

func (d *plainDrainer) Drain(context.Context) (router.Report, error) {
	d.drains.Add(1)
	return router.Report{}, errors.New("drained what was only lent")
}

func TestHandlers_DrainersAreSharedAndOnlyTheirSubscriptionsEnd(t *testing.T) {
	t.Run("decorated by the user", func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		shared := router.Decorate(broker, router.DrainConfig{})
		r := newRouter(t, router.Config{})
		started, release := make(chan struct{}), make(chan struct{})
		broker.add("a", 1)
		a := consume(t, r, "a", "a", shared, func(m *message.Message) error {
			close(started)
			<-release
			return m.Context().Err()
		})
		var n atomic.Int64
		consume(t, r, "b", "b", shared, count(&n))
		run(t, r)
		within(t, 5*time.Second, "the handler", started)
		time.AfterFunc(10*time.Millisecond, func() { close(release) })
		report, err := a.Stop(t.Context())
		if err != nil || report.Finished != 1 {
			t.Errorf("Stop = %+v, %v, want 1 finished", report, err)
		}
		broker.add("b", 1)
		eventually(t, "b goes on", func() bool { return n.Load() == 1 })
		if _, err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		out, err := shared.Subscribe(ctx, "c")
		if err != nil {
			t.Errorf("Subscribe after the router's shutdown: %v: it was lent", err)
		}
		cancel()
		<-out
	})
	t.Run("without DrainSubscription", func(t *testing.T) {
		d := &plainDrainer{scripted: newScripted(0)}
		d.add("a", 1)
		r := newRouter(t, router.Config{})
		var n atomic.Int64
		consume(t, r, "a", "a", d, count(&n))
		run(t, r)
		eventually(t, "the message is handled", func() bool { return n.Load() == 1 })
		if _, err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		d.subs.Wait()
		if d.drains.Load() != 0 || d.isClosed() {
			t.Error("a subscriber that was lent was drained or closed")
		}
	})
}

func TestHandlers_ConcurrencyAndKey(t *testing.T) {
	ps := newGoChannel(t)
	r := newRouter(t, router.Config{})
	var mu sync.Mutex
	now, most := 0, 0
	busy := map[string]bool{}
	var n atomic.Int64
	consume(t, r, "h", "t", ps, func(m *message.Message) error {
		key := string(m.Payload)
		mu.Lock()
		now++
		most = max(most, now)
		if busy[key] {
			t.Errorf("two of %s at once", key)
		}
		busy[key] = true
		mu.Unlock()
		<-time.After(2 * time.Millisecond)
		mu.Lock()
		now--
		busy[key] = false
		mu.Unlock()
		n.Add(1)
		return nil
	}, router.WithConcurrency(3), router.WithKey(func(m *message.Message) string { return string(m.Payload) }))
	run(t, r)
	for i := range 60 {
		if err := ps.Publish("t", message.NewMessage(fmt.Sprint(i), []byte{byte('a' + i%6)})); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are handled", func() bool { return n.Load() == 60 })
	if most != 3 {
		t.Errorf("at most %d ran at once, want 3", most)
	}
}
