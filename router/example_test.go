package router_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/router"
)

// A plain Watermill handler on any Pub/Sub. The shutdown comes while it works.
func Example() {
	pubSub := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})

	r, err := router.New(router.Config{DrainTimeout: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	working := make(chan struct{})
	_, err = r.AddConsumerHandler("invoices", "orders", pubSub, func(m *message.Message) error {
		close(working)
		<-time.After(20 * time.Millisecond) // the work
		fmt.Println("handled", m.UUID, "context:", m.Context().Err())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background()) // signal.NotifyContext in a service
	go func() {
		<-r.Running()
		if err := pubSub.Publish("orders", message.NewMessage("order-1", nil)); err != nil {
			log.Fatal(err)
		}
		<-working
		stop()
	}()
	if err := r.Run(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("stopped")
	if err := pubSub.Close(); err != nil { // the router did not: it was lent
		log.Fatal(err)
	}
	// Output:
	// handled order-1 context: <nil>
	// stopped
}

// The decorator alone, in a router of Watermill's.
func ExampleDecorate() {
	pubSub := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	sub := router.Decorate(pubSub, router.DrainConfig{Concurrency: 4})

	stock := message.NewDefaultRouter(watermill.NopLogger{})
	working := make(chan struct{})
	stock.AddConsumerHandler("invoices", "orders", sub, func(m *message.Message) error {
		close(working)
		<-time.After(20 * time.Millisecond)
		fmt.Println("handled", m.UUID, "context:", m.Context().Err())
		return nil
	})
	go func() {
		<-stock.Running()
		if err := pubSub.Publish("orders", message.NewMessage("order-1", nil)); err != nil {
			log.Fatal(err)
		}
		<-working
		if err := stock.Close(); err != nil {
			log.Fatal(err)
		}
	}()
	if err := stock.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: handled order-1 context: <nil>
}

// A handler is added to a running router, and stopped without stopping it.
func ExampleRouter_AddHandler() {
	pubSub := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	r, err := router.New(router.Config{})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := r.Run(context.Background()); err != nil {
			log.Print(err)
		}
	}()
	<-r.Running()

	shipped := make(chan string)
	if _, err := r.AddConsumerHandler("print", "shipments", pubSub, func(m *message.Message) error {
		shipped <- string(m.Payload)
		return nil
	}); err != nil {
		log.Fatal(err)
	}
	ship, err := r.AddHandler("ship", "orders", pubSub, "shipments", pubSub, func(m *message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage(m.UUID, append([]byte("shipped "), m.Payload...))}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := pubSub.Publish("orders", message.NewMessage("1", []byte("boots"))); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-shipped)

	if _, err := ship.Stop(context.Background()); err != nil {
		log.Fatal(err)
	}
	_, err = r.AddConsumerHandler("print", "orders", pubSub, func(*message.Message) error { return nil })
	fmt.Println(err)

	if _, err := r.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// shipped boots
	// router: add handler "print": a handler with this name exists
}

// The probes of an orchestrator.
func ExampleRouter_ReadyHandler() {
	r, err := router.New(router.Config{})
	if err != nil {
		log.Fatal(err)
	}
	rec := httptest.NewRecorder()
	r.ReadyHandler().ServeHTTP(rec, httptest.NewRequestWithContext(context.Background(), "GET", "/ready", nil))
	fmt.Print(rec.Code, " ", rec.Body)
	// Output: 503 {"live":true,"ready":false,"reason":"not running yet"}
}
