package redisbus_test

import (
	"context"
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	reg := eventbus.NewRegistry()
	if err := eventbus.Register[OrderCreated](reg, "OrderCreated", eventbus.AggregateType("Order")); err != nil {
		log.Fatal(err)
	}
	bus, err := redisbus.Open(ctx, redisbus.Config{
		URL: "redis://localhost:6379", StreamPrefix: "orders", ConsumerGroup: "billing", Concurrency: 16, Registry: reg,
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = eventbus.Subscribe(bus, "send-invoice", func(_ context.Context, e OrderCreated) error {
		fmt.Println("invoice for", e.CustomerID)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.Publish(ctx, &OrderCreated{Base: eventbus.NewBase("order-1"), CustomerID: "c-7"}); err != nil {
		log.Fatal(err)
	}
	if err := bus.Run(ctx); err != nil { // until ctx ends
		log.Fatal(err)
	}
	if _, err := bus.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// The transport in a plain Watermill project: nothing of leat's events.
func ExampleSubscriber() {
	ctx := context.Background()
	client, err := redisbus.OpenClient(ctx, redisbus.ClientConfig{URL: "redis://localhost:6379"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	sub, err := redisbus.NewSubscriber(redisbus.SubscriberConfig{Client: client, ConsumerGroup: "billing", Concurrency: 8})
	if err != nil {
		log.Fatal(err)
	}
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		log.Fatal(err)
	}
	r.AddConsumerHandler("print", "orders", sub, func(m *message.Message) error {
		fmt.Printf("%s\n", m.Payload)
		return nil
	})
	if err := r.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleClientConfig() {
	fmt.Println(redisbus.ClientConfig{URL: "rediss://app:secret@redis.example.com:6380/2"})
	// Output: {URL:rediss://...@redis.example.com:6380/2 TLS:false Credentials:false AllowPlaintextPassword:false ConnectTimeout:5s SocketTimeout:5s PoolSize:0}
}
