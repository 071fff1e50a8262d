package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/leat-go/leat/eventbus"
)

// handlers are the service's work. Each has a name, which is in the logs, the
// metrics and the dead letters.
type handlers struct {
	bus  eventbus.AnyBus
	log  *slog.Logger
	work time.Duration
	fail string // a customer
}

func (h *handlers) subscribe() error {
	_, err1 := eventbus.Subscribe(h.bus, "send-invoice", h.sendInvoice)
	_, err2 := eventbus.Subscribe(h.bus, "reserve-stock", h.reserveStock)
	_, err3 := eventbus.Subscribe(h.bus, "thank", h.thank)
	return errors.Join(err1, err2, err3)
}

// sendInvoice publishes what it did. The new event's id is made of the old
// one's: should a crash run it twice, both are the same event.
func (h *handlers) sendInvoice(ctx context.Context, e OrderPlaced) error {
	if err := h.toil(ctx); err != nil {
		return err
	}
	if h.fail != "" && e.Customer == h.fail {
		return errors.New("the customer has no address")
	}
	sent := &InvoiceSent{Base: eventbus.NewBase(e.AggregateID).CausedBy(&e), Customer: e.Customer}
	sent.EventID, sent.AggregateVersion = e.EventID+"-invoice", e.AggregateVersion+1
	if err := h.bus.Publish(ctx, sent); err != nil {
		return err // it runs again
	}
	h.did(ctx, "send-invoice", &e, "total_cents", e.TotalCents)
	return nil
}

func (h *handlers) reserveStock(ctx context.Context, e OrderPlaced) error {
	if err := h.toil(ctx); err != nil {
		return err
	}
	h.did(ctx, "reserve-stock", &e)
	return nil
}

func (h *handlers) thank(ctx context.Context, e InvoiceSent) error {
	h.did(ctx, "thank", &e, "customer", e.Customer)
	return nil
}

// did is the application's own log: one line for each thing that it did.
func (h *handlers) did(ctx context.Context, handler string, e eventbus.Event, more ...any) {
	b := e.EventBase()
	h.log.InfoContext(ctx, "handled", append([]any{"handler", handler, "event_type", b.EventType, "event_id", b.EventID, "order", b.AggregateID}, more...)...)
}

// toil takes time. Like every handler it minds its context, which ends when the
// time for a stop is over: the event is then handed back, and comes again.
func (h *handlers) toil(ctx context.Context) error {
	select {
	case <-time.After(h.work):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
