package membus_test

import (
	"context"
	"fmt"
	"log"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
)

type ticketSold struct {
	eventbus.Base
	Seat string `json:"seat"`
}

// Everything has run when Publish returns.
func Example() {
	ctx, reg := context.Background(), eventbus.NewRegistry()
	if err := eventbus.Register[ticketSold](reg, "TicketSold", eventbus.AggregateType("Show")); err != nil {
		log.Fatal(err)
	}
	bus, err := membus.New(membus.Config{Registry: reg})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := eventbus.Subscribe(bus, "print", func(_ context.Context, e ticketSold) error {
		fmt.Println("printed: seat", e.Seat)
		return nil
	}); err != nil {
		log.Fatal(err)
	}

	err = bus.Publish(ctx, &ticketSold{Base: eventbus.NewBase("show-1"), Seat: "B 12"})
	fmt.Println("published:", err)
	report, err := bus.Shutdown(ctx)
	fmt.Println("cut short:", report.HandedBack, err)
	// Output:
	// printed: seat B 12
	// published: <nil>
	// cut short: 0 <nil>
}
