package main

import (
	"fmt"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
)

// Order is the aggregate: its commands look at the state and raise events,
// Apply alone changes the state.
type Order struct {
	aggregate.Root
	state      string // "" (there is none yet), open, paid, shipped, cancelled
	items      int
	totalCents int64
}

// Apply changes the state by what happened.
func (o *Order) Apply(e eventbus.Event) {
	switch e := e.(type) {
	case *OrderCreated:
		o.state = "open"
	case *ItemAdded:
		o.items += e.Quantity
		o.totalCents += int64(e.Quantity) * e.PriceCents
	case *OrderPaid:
		o.state = "paid"
	case *OrderShipped:
		o.state = "shipped"
	case *OrderCancelled:
		o.state = "cancelled"
	}
}

// Create begins the order.
func (o *Order) Create(customer string) error {
	if err := o.must("create", ""); err != nil {
		return err
	}
	return aggregate.Raise(o, &OrderCreated{Customer: customer})
}

// Add puts pieces of an article into an open order.
func (o *Order) Add(sku string, quantity int, priceCents int64) error {
	if err := o.must("add to", "open"); err != nil {
		return err
	}
	return aggregate.Raise(o, &ItemAdded{SKU: sku, Quantity: quantity, PriceCents: priceCents})
}

// Pay pays the whole of an open order.
func (o *Order) Pay(amountCents int64) error {
	if err := o.must("pay", "open"); err != nil {
		return err
	}
	if o.items == 0 {
		return fmt.Errorf("pay order %q: it is empty", o.ID())
	}
	if amountCents != o.totalCents {
		return fmt.Errorf("pay order %q: it costs %s, not %s", o.ID(), money(o.totalCents), money(amountCents))
	}
	return aggregate.Raise(o, &OrderPaid{AmountCents: amountCents})
}

// Ship sends a paid order off.
func (o *Order) Ship(tracking string) error {
	if err := o.must("ship", "paid"); err != nil {
		return err
	}
	return aggregate.Raise(o, &OrderShipped{Tracking: tracking})
}

// Cancel ends an order that is not shipped.
func (o *Order) Cancel(reason string) error {
	if o.state != "paid" {
		if err := o.must("cancel", "open"); err != nil {
			return err
		}
	}
	return aggregate.Raise(o, &OrderCancelled{Reason: reason})
}

// must tells why a command does not fit the state.
func (o *Order) must(command, state string) error {
	switch {
	case o.state == state:
		return nil
	case state == "":
		return fmt.Errorf("%s order %q: it exists already", command, o.ID())
	default:
		return fmt.Errorf("%s order %q: it is %s, and must be %s", command, o.ID(), o.state, state)
	}
}

// money writes cents as people do.
func money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
