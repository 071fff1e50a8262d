package rabbitbus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/rivals"
)

// fill puts n events with that many keys on a new topic.
func (x *bench) fill(n, keys int) string {
	topic := x.topic()
	p := x.publisher()
	var batch []*message.Message
	for i := range n {
		batch = append(batch, benchMessage(fmt.Sprint("key-", i%keys)))
	}
	x.check(p.Publish(topic, batch...))
	return topic
}

func BenchmarkConsumeOneHandler(b *testing.B) {
	eachKind(b, func(x *bench) {
		compare(x.b,
			rival{"leat", 10000, func(n int) rivals.Cost { return x.consumeOurs(n, 1, 1, 100, 0) }},
			rival{"stock", 5000, func(n int) rivals.Cost { return x.consumeStock(n, 1, 0) }},
			rival{"raw", 10000, x.consumeRaw},
		)
	})
}

func BenchmarkConsume64LanesHandlerOf1ms(b *testing.B) {
	eachKind(b, func(x *bench) {
		compare(x.b,
			rival{"leat", 10000, func(n int) rivals.Cost { return x.consumeOurs(n, 1000, 64, 1000, time.Millisecond) }},
			rival{"stock", 300, func(n int) rivals.Cost { return x.consumeStock(n, 1000, time.Millisecond) }},
		)
	})
}

// gate holds the handlers back at their first event, so that joining is not
// counted: the clock runs from open to done.
type gate struct {
	left   atomic.Int64
	once   sync.Once
	joined chan struct{}
	open   chan struct{}
	done   chan struct{}
}

func newGate(n int) *gate {
	g := &gate{joined: make(chan struct{}), open: make(chan struct{}), done: make(chan struct{})}
	g.left.Store(int64(n))
	return g
}

// pass is called by a handler, and handled when it is done.
func (g *gate) pass() {
	g.once.Do(func() { close(g.joined) })
	<-g.open
}

func (g *gate) handled() {
	if g.left.Add(-1) == 0 {
		close(g.done)
	}
}

func (g *gate) meter() rivals.Cost {
	<-g.joined
	return rivals.Meter(func() {
		close(g.open)
		<-g.done
	})
}

// consumeOurs measures the bus: through router, decode and one handler, until
// the last event is handled.
func (x *bench) consumeOurs(n, keys, lanes, prefetch int, work time.Duration) rivals.Cost {
	topic := x.fill(n, keys)
	reg := eventbus.NewRegistry()
	x.check(eventbus.Register[benched](reg, "Benched", eventbus.AggregateType("Order")))
	bus, err := rabbitbus.Open(context.Background(), rabbitbus.Config{
		URL: x.url, ExchangeName: topic, ConsumerGroup: "g", QueueType: x.kind, Concurrency: lanes, PrefetchCount: prefetch, Registry: reg,
	})
	x.check(err)
	g := newGate(n)
	_, err = eventbus.Subscribe(bus, "h", func(context.Context, benched) error {
		g.pass()
		if work > 0 {
			<-time.After(work)
		}
		g.handled()
		return nil
	})
	x.check(err)
	var ran sync.WaitGroup
	ran.Go(func() { _ = bus.Run(context.Background()) })
	took := g.meter()
	_, err = bus.Shutdown(context.Background())
	x.check(err)
	ran.Wait()
	return took
}

func (x *bench) consumeStock(n, keys int, work time.Duration) rivals.Cost {
	topic := x.fill(n, keys)
	sub, err := amqp.NewSubscriber(x.stock(topic, 1), watermill.NopLogger{})
	x.check(err)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	x.check(err)
	g := newGate(n)
	r.AddConsumerHandler("h", topic, sub, func(m *message.Message) error {
		g.pass()
		if work > 0 {
			<-time.After(work)
		}
		if err := decodeOne(m.Payload); err != nil {
			return err
		}
		g.handled()
		return nil
	})
	var ran sync.WaitGroup
	ran.Go(func() { _ = r.Run(context.Background()) })
	took := g.meter()
	x.check(r.Close())
	_ = sub.Close()
	ran.Wait()
	return took
}

// decodeOne is what a handler of the rivals does to be fair: decode.
func decodeOne(payload []byte) error {
	var e benched
	return codec.JSON{}.Decode(payload, &e)
}

// consumeRaw acknowledges each event, as the shape has it, and decodes.
func (x *bench) consumeRaw(n int) rivals.Cost {
	topic := x.fill(n, 1)
	ch := raw(x.b, x.url)
	x.check(ch.Qos(100, 0, false))
	out, err := ch.Consume(topic+".g", "", false, false, false, false, nil)
	x.check(err)
	d := <-out
	return rivals.Meter(func() {
		for i := range n {
			if i > 0 {
				d = <-out
			}
			x.check(decodeOne(d.Body))
			if i%50 == 49 || i == n-1 {
				x.check(ch.Ack(d.DeliveryTag, true))
			}
		}
	})
}

// BenchmarkEndToEnd is the time from publishing to the last event that is
// decoded, everything at once: batches of 100 by 16 publishers. The stock adapter
// at its best has a channel for each publisher and a prefetch; by default it opens
// a channel for each call. Both have confirms: without, it lost events here.
func BenchmarkEndToEnd(b *testing.B) {
	eachKind(b, func(x *bench) {
		stock := func(config func(topic string) amqp.Config) func(int) rivals.Cost {
			return func(n int) rivals.Cost {
				topic := x.topic()
				pub, err := amqp.NewPublisher(config(topic), watermill.NopLogger{})
				x.check(err)
				sub, err := amqp.NewSubscriber(config(topic), watermill.NopLogger{})
				x.check(err)
				defer func() { _, _ = pub.Close(), sub.Close() }()
				return x.endToEnd(n, topic, pub, sub)
			}
		}
		compare(x.b,
			rival{"leat", 8000, func(n int) rivals.Cost {
				topic := x.topic()
				sub := newSubscriber(x.b, rabbitbus.SubscriberConfig{Client: connect(x.b, x.url), Topology: x.topology(), PrefetchCount: 100})
				return x.endToEnd(n, topic, x.publisher(), sub)
			}},
			rival{"stock", 3200, stock(func(topic string) amqp.Config { return x.stock(topic, 16) })},
			rival{"default", 1600, stock(func(topic string) amqp.Config {
				c := x.stock(topic, 0)
				c.Consume.Qos.PrefetchCount = 1
				return c
			})},
		)
	})
}

func (x *bench) endToEnd(n int, topic string, pub message.Publisher, sub message.Subscriber) rivals.Cost {
	const publishers = 16
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out, err := sub.Subscribe(ctx, topic)
	x.check(err)
	return rivals.Meter(func() {
		var wg sync.WaitGroup
		for range publishers {
			wg.Go(func() {
				for range n / 100 / publishers {
					batch := make([]*message.Message, 100)
					for i := range batch {
						batch[i] = benchMessage("k")
					}
					if err := pub.Publish(topic, batch...); err != nil {
						x.b.Error(err)
					}
				}
			})
		}
		for range n {
			m := <-out
			x.check(decodeOne(m.Payload))
			m.Ack()
		}
		wg.Wait()
	})
}
