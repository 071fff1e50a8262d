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
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

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

// ownedPubSub is a Pub/Sub that counts how often somebody closes it.
type ownedPubSub struct {
	*gochannel.GoChannel
	closed atomic.Int64
}

func (p *ownedPubSub) Close() error { p.closed.Add(1); return nil }

func TestHandlers_ConsumeTransformPublish(t *testing.T) {
	ps := &ownedPubSub{GoChannel: newGoChannel(t)}
	r := newRouter(t, router.Config{})
	transform := func(m *message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage(m.UUID, append([]byte("up:"), m.Payload...))}, nil
	}
	shout := router.WithMiddleware(func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			out, err := h(m)
			for _, o := range out {
				o.Payload = append(o.Payload, '!')
			}
			return out, err
		}
	})
	h, err := r.AddHandler("transform", "in", ps, "out", ps, transform, shout)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	consume(t, r, "sink", "out", ps, func(m *message.Message) error { got <- string(m.Payload); return nil })
	run(t, r)
	publish := func() {
		t.Helper()
		if err := ps.Publish("in", message.NewMessage("1", []byte("x"))); err != nil {
			t.Fatal(err)
		}
		if out := within(t, 5*time.Second, "the transformed message", got); out != "up:x!" {
			t.Errorf("out = %q", out)
		}
	}
	publish()
	if _, err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Watermill would have closed the publisher that the others use.
	if _, err := r.AddHandler("transform", "in", ps, "out", ps, transform, shout); err != nil {
		t.Fatal(err)
	}
	publish()
	if _, err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := ps.closed.Load(); n != 0 {
		t.Errorf("the Pub/Sub was closed %d times, want never", n)
	}
}

// A message is acked after what it became was published, also in a drain.
func TestHandlers_TransformDuringADrainIsPublished(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("in", 1)
	pub := &countingPublisher{}
	r := newRouter(t, router.Config{})
	started, release := make(chan struct{}), make(chan struct{})
	if _, err := r.AddHandler("h", "in", broker, "out", pub, func(m *message.Message) ([]*message.Message, error) {
		close(started)
		<-release
		return []*message.Message{m.Copy(), m.Copy()}, m.Context().Err()
	}); err != nil {
		t.Fatal(err)
	}
	rs := run(t, r)
	within(t, 5*time.Second, "the handler", started)
	rs.stop()
	eventually(t, "the router drains", func() bool { return !r.Health().Ready })
	close(release)
	if err := within(t, 5*time.Second, "Run", rs.ran); err != nil {
		t.Error(err)
	}
	if pub.n.Load() != 2 || len(broker.unacked()) != 0 || pub.closed.Load() != 0 {
		t.Errorf("published %d, unacked %v, publisher closed %d times", pub.n.Load(), broker.unacked(), pub.closed.Load())
	}
}

func TestHandlers_ConsumerHandlerRefusesOutputOfItsMiddleware(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("t", 1)
	r := newRouter(t, router.Config{})
	var n atomic.Int64
	consume(t, r, "h", "t", broker, count(&n), router.WithMiddleware(func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			if _, err := h(m); err != nil || n.Load() > 1 {
				return nil, err
			}
			return []*message.Message{m}, nil
		}
	}))
	run(t, r)
	eventually(t, "the message is nacked and comes again", func() bool { return n.Load() == 2 })
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
