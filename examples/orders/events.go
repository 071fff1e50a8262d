package main

import (
	"errors"

	"github.com/leat-go/leat/eventbus"
)

// OrderCreated says that a customer has begun an order.
type OrderCreated struct {
	eventbus.Base
	Customer string `json:"customer"`
}

// ItemAdded says that some pieces of an article were put into the order.
type ItemAdded struct {
	eventbus.Base
	SKU        string `json:"sku"`
	Quantity   int    `json:"quantity"`
	PriceCents int64  `json:"price_cents"` // of one piece
}

// OrderPaid says that the whole order was paid.
type OrderPaid struct {
	eventbus.Base
	AmountCents int64 `json:"amount_cents"`
}

// OrderShipped says that the parcel is on its way.
type OrderShipped struct {
	eventbus.Base
	Tracking string `json:"tracking"`
}

// OrderCancelled says that the order will not be shipped.
type OrderCancelled struct {
	eventbus.Base
	Reason string `json:"reason"`
}

// orderType is the kind of aggregate, on the wire and in the store.
const orderType = "Order"

// newRegistry declares what the events are called on the wire.
func newRegistry() (*eventbus.Registry, error) {
	reg, order := eventbus.NewRegistry(), eventbus.AggregateType(orderType)
	return reg, errors.Join(
		eventbus.Register[OrderCreated](reg, "OrderCreated", order),
		eventbus.Register[ItemAdded](reg, "ItemAdded", order),
		eventbus.Register[OrderPaid](reg, "OrderPaid", order),
		eventbus.Register[OrderShipped](reg, "OrderShipped", order),
		eventbus.Register[OrderCancelled](reg, "OrderCancelled", order),
	)
}
