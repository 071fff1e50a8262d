package membus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/eventbus"
)

// The in-memory bus with its full default chain, beside Watermill's gochannel
// and router carrying the same event as JSON. `make bench` prints the ratio.
func BenchmarkPublishToOneHandler(b *testing.B) {
	b.Run("leat", func(b *testing.B) {
		bus := open(b)
		on(b, bus, "h", func(context.Context, OrderCreated) error { return nil })
		publishEach(b, bus)
	})
	b.Run("leat-1000-other-handlers", func(b *testing.B) {
		bus := open(b)
		for i := range 1000 {
			on(b, bus, fmt.Sprint("other-", i), func(context.Context, OrderShipped) error { return nil })
		}
		on(b, bus, "h", func(context.Context, OrderCreated) error { return nil })
		publishEach(b, bus)
	})
	b.Run("watermill-gochannel", func(b *testing.B) { benchGoChannel(b) })
}

func publishEach(b *testing.B, bus *eventbus.Bus) {
	b.Helper()
	ctx, e := b.Context(), created("order-1")
	b.ReportAllocs()
	for b.Loop() {
		if err := bus.Publish(ctx, e); err != nil {
			b.Fatal(err)
		}
	}
}

func benchGoChannel(b *testing.B) {
	b.Helper()
	ps := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	format := codec.JSON{}
	r.AddConsumerHandler("h", "events", ps, func(msg *message.Message) error {
		var e OrderCreated
		return format.Decode(msg.Payload, &e)
	})
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(context.Background()) })
	<-r.Running()
	e := created("order-1")
	e.EventType = "OrderCreated"
	b.ReportAllocs()
	for b.Loop() {
		payload, err := format.Encode((*codec.Header)(&e.Base), e)
		if err != nil {
			b.Fatal(err)
		}
		if err := ps.Publish("events", message.NewMessage(e.EventID, payload)); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := r.Close(); err != nil {
		b.Error(err)
	}
	wg.Wait()
}

// Handlers of one event: linear in handlers, nothing else.
func BenchmarkHandlersOfOneEvent(b *testing.B) {
	for _, n := range []int{1, 2, 4, 8, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bus := open(b)
			for i := range n {
				on(b, bus, fmt.Sprint("h", i), func(context.Context, OrderCreated) error { return nil })
			}
			publishEach(b, bus)
		})
	}
}
