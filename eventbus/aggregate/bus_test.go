package aggregate_test

import (
	"context"
	"errors"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
	"github.com/leat-go/leat/eventbus/membus"
)

func accountBus(t *testing.T, types ...func(*eventbus.Registry) error) *eventbus.Bus {
	t.Helper()
	reg := eventbus.NewRegistry()
	for _, register := range types {
		must(t, register(reg))
	}
	bus, err := membus.New(membus.Config{Registry: reg})
	must(t, err)
	t.Cleanup(func() {
		_, err := bus.Shutdown(context.Background())
		must(t, err)
	})
	return bus
}

func openedType(r *eventbus.Registry) error { return eventbus.Register[Opened](r, "Opened") }
func movedType(r *eventbus.Registry) error  { return eventbus.Register[Moved](r, "Moved") }

// An event that the bus would refuse for ever is refused before it is stored:
// stored, it would block the events of its aggregate.
func TestSave_WhatTheBusRefusesIsNotStored(t *testing.T) {
	bus, s := accountBus(t, openedType), aggregate.NewMemStore()
	r, err := aggregate.NewRepository(aggregate.Config[*Account]{Type: "Account", New: func() *Account { return &Account{} }, Store: s, Publisher: bus})
	must(t, err)
	a := r.New("a-1")
	must(t, a.Open("Ada"))
	must(t, a.Move(5)) // Moved is not registered

	err = r.Save(t.Context(), a)

	var invalid *aggregate.InvalidError
	if !errors.As(err, &invalid) || !errors.Is(err, eventbus.ErrUnregistered) {
		t.Fatalf("err = %v, want an *InvalidError that wraps ErrUnregistered", err)
	}
	var none *aggregate.NotFoundError
	if _, err := r.Load(t.Context(), "a-1"); !errors.As(err, &none) {
		t.Errorf("load: %v, want a *NotFoundError: nothing was stored", err)
	}
	if n := bus.Stats().EventsPublished; n != 0 {
		t.Errorf("published %d", n)
	}
	must(t, movedType(bus.Registry()))
	must(t, r.Save(t.Context(), a))
	if n := bus.Stats().EventsPublished; n != 2 {
		t.Errorf("after the type is registered: published %d, want 2", n)
	}
}

// What a handler saves is caused by the event that it handles.
func TestSave_InAHandlerContinuesItsStory(t *testing.T) {
	bus, s := accountBus(t, openedType, movedType), aggregate.NewMemStore()
	r, err := aggregate.NewRepository(aggregate.Config[*Account]{Type: "Account", New: func() *Account { return &Account{} }, Store: s, Publisher: bus})
	must(t, err)
	var gift eventbus.Base
	_, err = eventbus.Subscribe(bus, "gift", func(ctx context.Context, e Opened) error {
		a, err := r.Load(ctx, e.AggregateID)
		if err != nil {
			return err
		}
		return errors.Join(a.Move(1), r.Save(ctx, a))
	})
	must(t, err)
	_, err = eventbus.Subscribe(bus, "note", func(_ context.Context, e Moved) error { gift = e.Base; return nil })
	must(t, err)
	a := r.New("a-1")
	must(t, a.Open("Ada"))
	must(t, r.Save(t.Context(), a))

	var opened *eventbus.Base
	for e, err := range s.Load(t.Context(), aggregate.Stream{Type: "Account", ID: "a-1"}) {
		must(t, err)
		if opened == nil {
			opened = e.EventBase()
		}
	}
	if gift.CausationID != opened.EventID || gift.CorrelationID != opened.CorrelationID || gift.CorrelationID == "" {
		t.Errorf("gift %+v is not caused by %+v", gift, opened)
	}
}
