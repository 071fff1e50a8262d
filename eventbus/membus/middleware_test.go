package membus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
)

func TestMiddleware_OfOneSubscriptionSeesTheMessage(t *testing.T) {
	bus := open(t)
	var payload, typ string
	on(t, bus, "h", func(context.Context, OrderCreated) error { return nil }, eventbus.WithMiddleware(func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			payload, typ = string(m.Payload), m.Metadata["event_type"]
			m.Metadata.Set("a", "b")
			return h(m)
		}
	}))
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	if n, _ := bus.DeadLetters().Count(t.Context()); n != 0 || payload == "" || typ == "" {
		t.Errorf("letters %d, payload %q, type %q", n, payload, typ)
	}
}

func TestOnRetry_SeesTheMessage(t *testing.T) {
	for _, where := range []string{"bus", "subscription"} {
		t.Run(where, func(t *testing.T) {
			eventType := ""
			retry := middleware.Retry{MaxRetries: 1, BaseDelay: 1, OnRetry: func(m *message.Message, _ middleware.RetryInfo) { eventType = m.Metadata["event_type"] }}
			var opts []eventbus.SubscribeOption
			bus := open(t, func(c *membus.Config) {
				if where == "bus" {
					c.Retry = retry
				}
			})
			if where == "subscription" {
				opts = append(opts, eventbus.WithRetry(retry))
			}
			on(t, bus, "h", func(context.Context, OrderCreated) error { return errors.New("x") }, opts...)
			if err := bus.Publish(t.Context(), created("1")); err != nil || eventType != "OrderCreated" {
				t.Errorf("err %v, event type %q", err, eventType)
			}
		})
	}
}

// One memory of what was handled, shared by two groups: each handles it.
func TestIdempotency_OneStoreForTwoGroups(t *testing.T) {
	seen := middleware.NewMemSeen(middleware.MemSeenConfig{})
	var ran atomic.Int32
	e := created("1")
	for _, g := range []string{"billing", "shipping"} {
		bus := open(t, func(c *membus.Config) {
			c.Group = g
			c.HandlerMiddleware = []message.HandlerMiddleware{middleware.Idempotency{Store: seen}.Middleware}
		})
		on(t, bus, "project", func(context.Context, OrderCreated) error { ran.Add(1); return nil })
		if err := bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if ran.Load() != 2 {
		t.Errorf("ran %d times: one group took the other's for a repetition", ran.Load())
	}
}

// A handler of another bus publishes with its context: what that says of its
// own delivery is not true of the event that is published.
func TestPublish_FromAHandlerOfAnotherBusIsADeliveryOfItsOwn(t *testing.T) {
	ctx := middleware.WithDelivery(t.Context(), &middleware.Delivery{Topic: "elsewhere", Group: "others", ID: "5-0", Key: "k", Partition: 3, Offset: 4})
	outer, inner := open(t), open(t, func(c *membus.Config) {
		c.Retry.MaxRetries = middleware.NoRetries
		c.Middleware = []message.HandlerMiddleware{func(h message.HandlerFunc) message.HandlerFunc {
			return func(m *message.Message) ([]*message.Message, error) {
				if _, err := h(m); err != nil {
					return nil, err
				}
				return nil, errors.New("commit failed")
			}
		}}
	})
	attempt := 0
	on(t, inner, "in", func(ctx context.Context, _ OrderCreated) error { attempt = middleware.Attempt(ctx); return nil })
	on(t, outer, "out", func(ctx context.Context, e OrderCreated) error {
		if middleware.Attempt(ctx) == 1 {
			return errors.New("again")
		}
		return inner.Publish(ctx, created("2"))
	})
	if err := outer.Publish(ctx, created("1")); err != nil {
		t.Fatal(err)
	}
	l := only(t, inner)
	if attempt != 1 || l.Key != "2" || l.Source.ID != "" || l.Source.Offset >= 0 || l.Group != "default" || len(l.Handlers) != 0 {
		t.Errorf("attempt %d, letter %+v", attempt, l)
	}
}
