package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
)

type OrderCreated struct {
	eventbus.Base

	CustomerID string `json:"customer_id"`
}

func Example() {
	if err := invoices(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func invoices(ctx context.Context) error {
	reg := eventbus.NewRegistry()
	if err := eventbus.Register[OrderCreated](reg, "OrderCreated", eventbus.AggregateType("Order")); err != nil {
		return err
	}
	bus, err := redisbus.Open(ctx, redisbus.Config{
		URL: "redis://localhost:6379", StreamPrefix: "orders", ConsumerGroup: "billing", Concurrency: 16, Registry: reg,
	})
	if err != nil {
		return err
	}
	_, err = eventbus.Subscribe(bus, "send-invoice", func(_ context.Context, e OrderCreated) error {
		fmt.Println("invoice for", e.CustomerID)
		return nil
	})
	if err != nil {
		return err
	}
	if err := bus.Publish(ctx, &OrderCreated{Base: eventbus.NewBase("order-1"), CustomerID: "c-7"}); err != nil {
		return err
	}
	err = bus.Run(ctx) // until ctx ends
	_, shutdownErr := bus.Shutdown(context.WithoutCancel(ctx))
	return errors.Join(err, shutdownErr)
}

// The transport in a plain Watermill project: nothing of leat's events.
func ExampleSubscriber() {
	if err := printOrders(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func printOrders(ctx context.Context) error {
	client, err := redisbus.OpenClient(ctx, redisbus.ClientConfig{URL: "redis://localhost:6379"})
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := redisbus.NewSubscriber(redisbus.SubscriberConfig{Client: client, ConsumerGroup: "billing", Concurrency: 8})
	if err != nil {
		return err
	}
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	r.AddConsumerHandler("print", "orders", sub, func(m *message.Message) error {
		fmt.Printf("%s\n", m.Payload)
		return nil
	})
	return r.Run(ctx) // closes sub, which drains
}

func ExampleClientConfig() {
	fmt.Println(redisbus.ClientConfig{URL: "rediss://app:secret@redis.example.com:6380/2"})
	// Output: {URL:rediss://...@redis.example.com:6380/2 TLS:false Credentials:false AllowPlaintextPassword:false ConnectTimeout:5s SocketTimeout:5s PoolSize:0}
}
