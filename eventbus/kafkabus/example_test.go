package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
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
	bus, err := kafkabus.Open(ctx, kafkabus.Config{
		BootstrapServers: "localhost:9092", TopicPrefix: "orders", ConsumerGroup: "billing", Concurrency: 16, Registry: reg,
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
	client, err := kafkabus.OpenClient(ctx, kafkabus.ClientConfig{BootstrapServers: "localhost:9092"})
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := kafkabus.NewSubscriber(kafkabus.SubscriberConfig{Client: client, ConsumerGroup: "billing", Concurrency: 8})
	if err != nil {
		return err
	}
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	r.AddConsumerHandler("print", "orders.stream", sub, func(m *message.Message) error {
		fmt.Printf("%s\n", m.Payload)
		return nil
	})
	return r.Run(ctx) // closes sub, which drains
}

// The outcome of each message of a batch.
func ExamplePublisher_PublishBatch() {
	if err := publishAll(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func publishAll(ctx context.Context) error {
	client, err := kafkabus.OpenClient(ctx, kafkabus.ClientConfig{BootstrapServers: "localhost:9092"})
	if err != nil {
		return err
	}
	defer client.Close()
	pub, err := kafkabus.NewPublisher(kafkabus.PublisherConfig{Client: client})
	if err != nil {
		return err
	}
	batch := []*message.Message{
		message.NewMessage("id-1", []byte("one")),
		message.NewMessage("id-2", []byte("two")),
	}
	for i, err := range pub.PublishBatch(ctx, "orders.stream", batch) { // nil: all are confirmed
		var refused *kafkabus.RefusedError
		switch {
		case err == nil:
			fmt.Println(batch[i].UUID, "is confirmed")
		case errors.Is(err, kafkabus.ErrUnknown):
			fmt.Println(batch[i].UUID, "may be there; sending it again may double it")
		case errors.As(err, &refused):
			fmt.Println(batch[i].UUID, "was refused:", refused.Code)
		}
	}
	return pub.Close()
}

// A log-in by OAUTHBEARER, with tokens that are renewed.
func ExampleOpenClient_oauth() {
	client, err := kafkabus.OpenClient(context.Background(), kafkabus.ClientConfig{
		BootstrapServers: "kafka.example.com:9093", SecurityProtocol: kafkabus.SASLSSL,
		SASL: oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := tokenOfTheDay(ctx)
			return oauth.Auth{Token: token}, err
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
}

func tokenOfTheDay(context.Context) (string, error) { return "from your identity provider", nil }

// Dead letters in a topic, without a bus.
func ExampleStore() {
	if err := showLetters(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func showLetters(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092")) // any client will do
	if err != nil {
		return err
	}
	defer client.Close()
	store, err := kafkabus.NewStore(kafkabus.StoreConfig{Client: client, Topic: "orders.stream.dlq"})
	if err != nil {
		return err
	}
	for l, err := range store.List(ctx, dlq.Query{NewestFirst: true, Limit: 10}) {
		if err != nil {
			return err
		}
		fmt.Println(l.ID, l.Reason, l.Handlers, l.ErrorMessage)
	}
	return nil
}

// How far behind a group is.
func ExampleInspector() {
	if err := showLag(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func showLag(ctx context.Context) error {
	client, err := kafkabus.OpenClient(ctx, kafkabus.ClientConfig{BootstrapServers: "localhost:9092"})
	if err != nil {
		return err
	}
	defer client.Close()
	inspector, err := kafkabus.NewInspector(kafkabus.InspectorConfig{Client: client, Topic: "orders.stream", Group: "billing"})
	if err != nil {
		return err
	}
	info, err := inspector.TopicInfo(ctx)
	if err != nil {
		return err
	}
	fmt.Println(info.GroupState, "group of", info.Consumers, "has", info.Lag, "records to go")
	return nil
}
