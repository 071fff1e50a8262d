package router_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

// The trap this package exists for (traps.md): a stock router that stops
// cleanly on a stock adapter. Thirty handlers are at work; the stop begins; all
// thirty finish well within the time-out.
func TestTrap_StockRouterStopLosesAcks(t *testing.T) {
	t.Run("bare", func(t *testing.T) {
		finished, again := stopStockRouter(t, func(s message.Subscriber) message.Subscriber { return s })
		if finished != 30 || again != 30 {
			t.Errorf("finished %d, delivered again %d; the trap was 30 and 30: is the adapter mended?", finished, again)
		}
	})
	t.Run("decorated", func(t *testing.T) {
		finished, again := stopStockRouter(t, func(s message.Subscriber) message.Subscriber {
			return router.Decorate(s, router.DrainConfig{})
		})
		if finished != 30 || again != 0 {
			t.Errorf("finished %d, delivered again %d, want 30 and 0", finished, again)
		}
	})
}

func stopStockRouter(t *testing.T, wrap func(message.Subscriber) message.Subscriber) (finished, again int) {
	t.Helper()
	broker := newScripted(3 * time.Millisecond)
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	var started, done atomic.Int64
	release := make(chan struct{})
	for i := range 30 {
		topic := fmt.Sprint("t", i)
		broker.add(topic, 1)
		r.AddConsumerHandler(topic, topic, wrap(broker), func(*message.Message) error {
			started.Add(1)
			<-release
			done.Add(1)
			return nil
		})
	}
	ran := make(chan error, 1)
	go func() { ran <- r.Run(t.Context()) }()
	eventually(t, "all thirty are at work", func() bool { return started.Load() == 30 })

	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	<-time.After(20 * time.Millisecond) // the stop is under way, the handlers are not done
	close(release)

	if err := within(t, 10*time.Second, "Close", closed); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := within(t, 10*time.Second, "Run", ran); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := broker.Close(); err != nil {
		t.Error(err)
	}
	return int(done.Load()), len(broker.unacked())
}

// With a poison queue the same stop buries healthy messages: handlers that
// mind their context fail with "context canceled", and that is an error.
func TestTrap_StockRouterStopBuriesHealthyMessages(t *testing.T) {
	bury := func(t *testing.T, wrap func(message.Subscriber) message.Subscriber) (buried int64, again int) {
		t.Helper()
		broker := newScripted(time.Millisecond)
		r, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, watermill.NopLogger{})
		if err != nil {
			t.Fatal(err)
		}
		graves := &countingPublisher{}
		r.AddMiddleware(poisonQueue(graves))
		var started atomic.Int64
		for i := range 10 {
			topic := fmt.Sprint("t", i)
			broker.add(topic, 1)
			r.AddConsumerHandler(topic, topic, wrap(broker), func(m *message.Message) error {
				started.Add(1)
				select {
				case <-m.Context().Done():
					return m.Context().Err()
				case <-time.After(100 * time.Millisecond): // the work
					return nil
				}
			})
		}
		ran := make(chan error, 1)
		go func() { ran <- r.Run(t.Context()) }()
		eventually(t, "all ten are at work", func() bool { return started.Load() == 10 })
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := within(t, 10*time.Second, "Run", ran); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
		return graves.n.Load(), len(broker.unacked())
	}

	t.Run("bare", func(t *testing.T) {
		buried, again := bury(t, func(s message.Subscriber) message.Subscriber { return s })
		if buried != 10 || again != 10 {
			t.Errorf("buried %d, delivered again %d; the trap was 10 and 10", buried, again)
		}
	})
	t.Run("decorated", func(t *testing.T) {
		buried, again := bury(t, func(s message.Subscriber) message.Subscriber {
			return router.Decorate(s, router.DrainConfig{})
		})
		if buried != 0 || again != 0 {
			t.Errorf("buried %d, delivered again %d, want 0 and 0", buried, again)
		}
	})
}

// poisonQueue does what Watermill's middleware.PoisonQueue does: every error is
// published and swallowed. (That package would bring a dependency.)
func poisonQueue(pub message.Publisher) message.HandlerMiddleware {
	return func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			out, err := h(m)
			if err != nil {
				return nil, pub.Publish("poison", m)
			}
			return out, nil
		}
	}
}

// countingPublisher counts what is published and whether it was closed.
type countingPublisher struct{ n, closed atomic.Int64 }

func (p *countingPublisher) Publish(_ string, msgs ...*message.Message) error {
	p.n.Add(int64(len(msgs)))
	return nil
}

func (p *countingPublisher) Close() error {
	p.closed.Add(1)
	return nil
}
