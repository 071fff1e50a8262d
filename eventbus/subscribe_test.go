package eventbus_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/leat-go/leat/eventbus"
)

// invoices is a subscriber.
type invoices struct{ eventbus.HandlerFunc }

func (invoices) Name() string { return "send-invoice" }
func (invoices) SubscribedTo() []eventbus.Type {
	return []eventbus.Type{eventbus.TypeFor[OrderCreated]()}
}

// backend is made as the buses of the backends are: a pointer to it, when nil,
// cannot be asked for the bus inside.
type backend struct {
	_ string
	*eventbus.Bus
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
		"nothing":                             typed(nil),
		"a nil bus":                           typed(none),
		"a zero bus":                          typed(&eventbus.Bus{}),
		"a backend's nil bus":                 typed((*backend)(nil)),
		"a backend's zero bus":                typed(&backend{}),
		"a struct around a backend's nil bus": typed(struct{ *backend }{}),
		"a struct around nothing":             typed(struct{ eventbus.AnyBus }{}),
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
