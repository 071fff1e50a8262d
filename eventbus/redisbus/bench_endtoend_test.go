package redisbus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/rivals"
)

func BenchmarkEndToEnd(b *testing.B) { endToEnd(b, 0) }

func BenchmarkEndToEnd_800us(b *testing.B) { endToEnd(b, 800*time.Microsecond) }

// endToEnd publishes batches of 100 and waits until the last event is handled,
// publisher and consumer at work at the same time. Ours are events, which are
// encoded and stamped; the rival's messages are made beforehand.
func endToEnd(b *testing.B, delay time.Duration) {
	b.Helper()
	x := newBench(b, delay)
	events := map[string]int{"leat": 20000, "stock": 2000}
	if delay > 0 {
		events["stock"] = 200
	}
	if testing.Short() {
		events = map[string]int{"leat": 1000, "stock": 100}
	}
	each := func(start func() line) func(int) rivals.Cost {
		return func(n int) rivals.Cost {
			l := start()
			defer l.stop()
			return rivals.Meter(func() {
				for sent := 0; sent < n; sent += 100 {
					l.publish(sent, 100)
				}
				for range n {
					<-l.handled
				}
			})
		}
	}
	compare(b, events, rival{"leat", each(x.ourLine)}, rival{"stock", each(x.stockLine)})
}

// line is a publisher, a stream and a consumer at work.
type line struct {
	publish func(first, n int) // events of the numbers first, first+1, ...
	handled chan int           // their numbers
	stop    func()
}

// ourLine opens a bus with one handler.
func (x *bench) ourLine() line {
	reg := eventbus.NewRegistry()
	x.check(eventbus.Register[benchEvent](reg, "Benched", eventbus.AggregateType("Order")))
	bus, err := redisbus.Open(context.Background(), redisbus.Config{
		Client: x.client(), StreamPrefix: x.stream(), ConsumerGroup: "g", Registry: reg,
	})
	x.check(err)
	handled := make(chan int, 1<<16)
	_, err = eventbus.Subscribe(bus, "h", func(_ context.Context, e benchEvent) error {
		handled <- int(e.Amount)
		return nil
	})
	x.check(err)
	var ran sync.WaitGroup
	ran.Go(func() { _ = bus.Run(context.Background()) })
	<-bus.Running()
	return line{
		handled: handled,
		publish: func(first, n int) {
			events := make([]eventbus.Event, n)
			for i := range events {
				events[i] = &benchEvent{
					Base: eventbus.NewBase("order"), CustomerID: "33333333-3333-4333-8333-333333333333", Amount: float64(first + i), Note: "a note",
				}
			}
			if err := bus.Publish(context.Background(), events...); err != nil {
				x.b.Error(err)
			}
		},
		stop: func() {
			_, err := bus.Shutdown(context.Background())
			x.check(err)
			ran.Wait()
		},
	}
}

// stockLine runs a router with the stock adapter, which decodes as well.
func (x *bench) stockLine() line {
	stream := x.stream()
	pub := x.stockPublisher()
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	x.check(err)
	handled := make(chan int, 1<<16)
	r.AddConsumerHandler("h", stream, x.stockSubscriber(), func(m *message.Message) error {
		var n int
		_, err := fmt.Sscan(m.Metadata["n"], &n)
		handled <- n
		if err == nil {
			err = decodeOne(m.Payload)
		}
		return err
	})
	var ran sync.WaitGroup
	ran.Go(func() { _ = r.Run(context.Background()) })
	<-r.Running()
	template := benchMessage("order")
	return line{
		handled: handled,
		publish: func(first, n int) {
			msgs := make([]*message.Message, n)
			for i := range msgs {
				msgs[i] = template.Copy()
				msgs[i].Metadata["n"] = fmt.Sprint(first + i)
			}
			if err := pub.Publish(stream, msgs...); err != nil {
				x.b.Error(err)
			}
		},
		stop: func() {
			x.check(r.Close())
			ran.Wait()
		},
	}
}
