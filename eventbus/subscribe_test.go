package eventbus_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/eventbus/redisbus"
)

// invoices is a subscriber.
type invoices struct{ eventbus.HandlerFunc }

func (invoices) Name() string { return "send-invoice" }
func (invoices) SubscribedTo() []eventbus.Type {
	return []eventbus.Type{eventbus.TypeFor[OrderCreated]()}
}

// A program that did not look at the error of Open has a nil bus, of a type of
// its own inside the interface.
func TestSubscribe_NilBusIsAnError(t *testing.T) {
	typed := func(bus eventbus.AnyBus) func() error {
		return func() error {
			_, err := eventbus.Subscribe(bus, "send-invoice", func(context.Context, OrderCreated) error { return nil })
			return err
		}
	}
	method := func(_ *eventbus.Subscription, err error) error { return err }
	h := eventbus.HandlerFunc(func(context.Context, eventbus.Event) error { return nil })
	var none *eventbus.Bus
	for name, subscribe := range map[string]func() error{
		"nothing":                   typed(nil),
		"a nil bus":                 typed(none),
		"a zero bus":                typed(&eventbus.Bus{}),
		"a nil bus on Redis":        typed((*redisbus.Bus)(nil)),
		"a nil bus on RabbitMQ":     typed((*rabbitbus.Bus)(nil)),
		"a nil bus on Kafka":        typed((*kafkabus.Bus)(nil)),
		"a zero bus on Redis":       typed(&redisbus.Bus{}),
		"a struct around a nil bus": typed(struct{ *kafkabus.Bus }{}),
		"a struct around nothing":   typed(struct{ eventbus.AnyBus }{}),
		"SubscribeHandler of nil": func() error {
			return method(none.SubscribeHandler(eventbus.TypeFor[OrderCreated](), "send-invoice", h))
		},
		"SubscribeToAllEvents of nil": func() error { return method(none.SubscribeToAllEvents("send-invoice", h)) },
		"SubscribeAll of nil":         func() error { return method(none.SubscribeAll(invoices{h})) },
	} {
		t.Run(name, func(t *testing.T) {
			err := subscribe()
			var se *eventbus.SubscribeError
			if !errors.As(err, &se) || !errors.Is(err, eventbus.ErrNilBus) || se.Handler != "send-invoice" {
				t.Fatalf("err = %v, want a *SubscribeError of send-invoice that wraps ErrNilBus", err)
			}
			if !strings.Contains(err.Error(), "a backend's Open") {
				t.Errorf("the text does not say what to do: %v", err)
			}
		})
	}
}
