package eventbustest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/eventbus/membus"
)

type OrderCreated struct {
	eventbus.Base
	CustomerID string `json:"customer_id"`
}

func registry() *eventbus.Registry {
	reg := eventbus.NewRegistry()
	if err := eventbus.Register[OrderCreated](reg, "OrderCreated", eventbus.AggregateType("Order")); err != nil {
		panic(err)
	}
	return reg
}

// A test of code that publishes: give it an in-memory bus, and look at what a
// recorder saw.
func ExampleRecorder() {
	t := &testing.T{} // in a test: the one that you were given

	bus, err := membus.New(membus.Config{Registry: registry()})
	if err != nil {
		t.Fatal(err)
	}
	var mails eventbustest.Recorder
	if _, err := bus.SubscribeHandler(eventbus.TypeFor[OrderCreated](), "mail", &mails); err != nil {
		t.Fatal(err)
	}

	created := &OrderCreated{Base: eventbus.NewBase("order-1"), CustomerID: "ada"}
	if err := bus.Publish(context.Background(), created); err != nil {
		t.Fatal(err)
	}

	mails.Want(t, created)
	for _, e := range eventbustest.EventsOf[OrderCreated](&mails) {
		fmt.Println(e.EventType, e.AggregateID, e.CustomerID)
	}
	// Output: OrderCreated order-1 ada
}

// A test of what happens when the broker refuses.
func ExamplePublisher() {
	t := &testing.T{} // in a test: the one that you were given

	pub := &eventbustest.Publisher{}
	bus, err := eventbus.New(eventbus.Config{Publisher: pub, Registry: registry(), Topic: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Publish(context.Background(), &OrderCreated{Base: eventbus.NewBase("order-1")}); err != nil {
		t.Fatal(err)
	}
	msg := pub.Want(t, "orders", 1)[0]
	fmt.Println(msg.Metadata.Get("event_type"), msg.Metadata.Get("aggregate_id"))
	// Output: OrderCreated order-1
}

// The books of a fault test: what was confirmed must have been handled or be
// buried, whatever happened in between.
func ExampleLedger() {
	t := &testing.T{} // in a test: the one that you were given

	bus, err := membus.New(membus.Config{Registry: registry()})
	if err != nil {
		t.Fatal(err)
	}
	ledger := &eventbustest.Ledger{Ordered: true}
	refuse := eventbus.HandlerFunc(func(_ context.Context, e eventbus.Event) error {
		if e.EventBase().AggregateVersion == 2 {
			return errors.New("out of stock")
		}
		return nil
	})
	retry := eventbus.WithRetry(noRetries)
	if _, err := bus.SubscribeHandler(eventbus.TypeFor[OrderCreated](), "stock", ledger.Handler("stock", refuse), retry); err != nil {
		t.Fatal(err)
	}
	for version := range 3 {
		e := &OrderCreated{Base: eventbus.NewBase("order-1")}
		e.AggregateVersion = int64(version + 1)
		if err := ledger.Publish(context.Background(), bus, e); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("without the letters:", len(ledger.Problems()), "problem")
	if err := ledger.Letters(context.Background(), bus.DeadLetters()); err != nil {
		t.Fatal(err)
	}
	fmt.Println("with them:", len(ledger.Problems()))
	// Output:
	// without the letters: 1 problem
	// with them: 0
}
