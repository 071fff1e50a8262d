package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-go/leat/eventbus/aggregate"
)

// command is one line of the input.
type command struct {
	Command     string `json:"command"`
	Order       string `json:"order"`
	Customer    string `json:"customer"`
	SKU         string `json:"sku"`
	Quantity    int    `json:"quantity"`
	PriceCents  int64  `json:"price_cents"`
	AmountCents int64  `json:"amount_cents"`
	Tracking    string `json:"tracking"`
	Reason      string `json:"reason"`
}

// String tells the command as a person would.
func (c command) String() string {
	switch c.Command {
	case "create":
		return fmt.Sprintf("create %s for %s", c.Order, c.Customer)
	case "add_item":
		return fmt.Sprintf("add %d x %s at %s to %s", c.Quantity, c.SKU, money(c.PriceCents), c.Order)
	case "pay":
		return fmt.Sprintf("pay %s for %s", money(c.AmountCents), c.Order)
	case "ship":
		return fmt.Sprintf("ship %s as %s", c.Order, c.Tracking)
	default:
		return fmt.Sprintf("%s %s", c.Command, c.Order)
	}
}

// shop carries out commands on orders.
type shop struct {
	orders *aggregate.Repository[*Order]
}

// do carries out one checked command: load the order, decide, save it, and with that
// publish what happened.
func (s *shop) do(ctx context.Context, c command) error {
	var o *Order
	var err error
	if c.Command == "create" {
		o = s.orders.New(c.Order)
	} else if o, err = s.orders.Load(ctx, c.Order); err != nil {
		if missing := (*aggregate.NotFoundError)(nil); errors.As(err, &missing) {
			return fmt.Errorf("%s: order %q does not exist", c.Command, c.Order)
		}
		return err
	}
	switch c.Command {
	case "create":
		err = o.Create(c.Customer)
	case "add_item":
		err = o.Add(c.SKU, c.Quantity, c.PriceCents)
	case "pay":
		err = o.Pay(c.AmountCents)
	case "ship":
		err = o.Ship(c.Tracking)
	case "cancel":
		err = o.Cancel(c.Reason)
	}
	if err != nil {
		return err
	}
	err = s.orders.Save(ctx, o)
	if conflict := (*aggregate.ConflictError)(nil); errors.As(err, &conflict) && c.Command == "create" {
		return fmt.Errorf("create order %q: it exists already", c.Order)
	}
	return err
}

// publishPending publishes what was saved and could not be published, again
// and again until it is through or the patience is at its end.
func (s *shop) publishPending(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		_, err := s.orders.PublishPending(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}
