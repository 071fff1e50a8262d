package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/leat-go/leat/eventbus"
)

// publishTimeout bounds how long a client waits for the broker.
const publishTimeout = 5 * time.Second

// answer is the JSON of every answer.
type answer struct {
	EventID string `json:"event_id,omitempty"`
	OrderID string `json:"order_id,omitempty"`
	Error   string `json:"error,omitempty"`
}

// placeOrder turns a request into an event: 202 when the broker has confirmed
// it, and only then.
func placeOrder(bus eventbus.AnyBus) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var order struct {
			Customer   string `json:"customer"`
			TotalCents int64  `json:"total_cents"`
		}
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
		body.DisallowUnknownFields()
		if err := body.Decode(&order); err != nil || order.Customer == "" || order.TotalCents <= 0 {
			reply(w, http.StatusBadRequest, answer{Error: `want {"customer":"Ada","total_cents":1250}`})
			return
		}
		// A client that asks again after a 503 or 504 sends the same key: the event is
		// then the same one, and handlers know it.
		id := r.Header.Get("Idempotency-Key")
		if id == "" {
			id = eventbus.NewID()
		}
		e := &OrderPlaced{Base: eventbus.NewBase("order-" + id), Customer: order.Customer, TotalCents: order.TotalCents}
		e.EventID, e.CorrelationID = id, id

		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, cancel := context.WithTimeout(ctx, publishTimeout)
		defer cancel()
		a := answer{EventID: id, OrderID: e.AggregateID}
		switch err := bus.Publish(ctx, e); {
		case err == nil:
			reply(w, http.StatusAccepted, a)
		case errors.Is(err, eventbus.ErrInvalidEvent):
			reply(w, http.StatusBadRequest, answer{Error: "the Idempotency-Key must be at most 190 printable characters"})
		case errors.Is(err, eventbus.ErrUnknown): // it may be with the broker
			a.Error = "not known to be accepted: ask again with the Idempotency-Key " + id
			reply(w, http.StatusGatewayTimeout, a)
		default: // it is not
			a.Error = "not accepted: ask again later"
			w.Header().Set("Retry-After", "1")
			reply(w, http.StatusServiceUnavailable, a)
		}
	}
}

func reply(w http.ResponseWriter, code int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(a) // the client hung up: nobody is left to tell
}
