package router_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/router"
)

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
