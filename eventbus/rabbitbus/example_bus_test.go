package rabbitbus_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
)

type parcelHandedIn struct {
	eventbus.Base
	Grams int `json:"grams"`
}

// Publishing and consuming until ctx ends, which drains.
func Example() {
	if err := weigh(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func weigh(ctx context.Context) error {
	reg := eventbus.NewRegistry()
	if err := eventbus.Register[parcelHandedIn](reg, "ParcelHandedIn", eventbus.AggregateType("Parcel")); err != nil {
		return err
	}
	bus, err := rabbitbus.Open(ctx, rabbitbus.Config{
		URL: "amqp://localhost", ExchangeName: "post", ConsumerGroup: "scales", Concurrency: 16, Registry: reg,
	})
	if err != nil {
		return err
	}
	_, err = eventbus.Subscribe(bus, "weigh", func(_ context.Context, e parcelHandedIn) error {
		fmt.Println(e.AggregateID, "weighs", e.Grams, "g")
		return nil
	})
	if err != nil {
		return err
	}
	if err := bus.Publish(ctx, &parcelHandedIn{Base: eventbus.NewBase("parcel-1"), Grams: 730}); err != nil {
		return err
	}
	err = bus.Run(ctx) // until ctx ends
	_, shutdownErr := bus.Shutdown(context.WithoutCancel(ctx))
	return errors.Join(err, shutdownErr)
}

// Workers that share one queue evenly: each holds one event at a time.
func ExampleOpen_workQueue() {
	open := func(ctx context.Context, reg *eventbus.Registry) (*rabbitbus.Bus, error) {
		return rabbitbus.Open(ctx, rabbitbus.Config{
			ExchangeName: "tasks", ExchangeType: rabbitbus.ExchangeDirect, ConsumerGroup: "workers",
			PrefetchCount: 1, Concurrency: 1, Registry: reg,
		})
	}
	_ = open // each worker calls it
}

// Only the events that a process wants reach its queue.
func ExampleBus_BindEventType() {
	bind := func(ctx context.Context, bus *rabbitbus.Bus) error {
		return errors.Join(
			bus.BindEventType(ctx, eventbus.TypeFor[parcelHandedIn]()),
			bus.BindRoutingKey(ctx, "Letter.*"),
		)
	}
	_ = bind // on a bus that was opened with NoDefaultBinding
}
