package main

import (
	"errors"

	"github.com/leat-go/leat/eventbus"
)

// OrderPlaced says that a customer has ordered.
type OrderPlaced struct {
	eventbus.Base
	Customer   string `json:"customer"`
	TotalCents int64  `json:"total_cents"`
}

// InvoiceSent says that the customer was asked to pay.
type InvoiceSent struct {
	eventbus.Base
	Customer string `json:"customer"`
}

// newRegistry declares what the events are called on the wire.
func newRegistry() (*eventbus.Registry, error) {
	reg, order := eventbus.NewRegistry(), eventbus.AggregateType("Order")
	return reg, errors.Join(
		eventbus.Register[OrderPlaced](reg, "OrderPlaced", order),
		eventbus.Register[InvoiceSent](reg, "InvoiceSent", order),
	)
}
