package rabbitbus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// The benchmarks run leat, the stock adapter and bare amqp091-go in turn, in one
// run and on one broker, round after round, and report the ratios of the
// medians: other programs on the machine hit all of them alike. -benchtime=1x is
// enough for that; the times of the testing package itself mean nothing.
//
//	go test -run=NONE -bench=. -benchtime=1x ./eventbus/rabbitbus

type rival struct {
	name string
	n    int // events a round
	run  func(n int) time.Duration
}

func compare(b *testing.B, rivals ...rival) {
	b.Helper()
	const rounds = 5
	for b.Loop() {
		rates := map[string][]float64{}
		for range rounds {
			for _, r := range rivals {
				rates[r.name] = append(rates[r.name], float64(r.n)/r.run(r.n).Seconds())
			}
		}
		median := func(name string) float64 {
			slices.Sort(rates[name])
			return rates[name][rounds/2]
		}
		for _, r := range rivals {
			b.ReportMetric(median(r.name), r.name+"/s")
			if r.name != "leat" {
				b.ReportMetric(median("leat")/median(r.name), "x-"+r.name)
			}
		}
		b.ReportMetric(0, "ns/op")
	}
}

type benched struct {
	eventbus.Base

	CustomerID string  `json:"customer_id"`
	Amount     float64 `json:"amount"`
	Note       string  `json:"note"`
}

var benchPayload = []byte(`{"event_id":"11111111-1111-4111-8111-111111111111","event_type":"Benched","event_version":1,"occurred_at":"2026-01-02T03:04:05.678901Z","aggregate_id":"22222222-2222-4222-8222-222222222222","aggregate_type":"Order","aggregate_version":3,"tenant_id":null,"actor_id":null,"correlation_id":"44444444-4444-4444-8444-444444444444","causation_id":null,"metadata":{},"customer_id":"33333333-3333-4333-8333-333333333333","amount":12.5,"note":"a note"}`)

func benchMessage(key string) *message.Message {
	m := message.NewMessage("11111111-1111-4111-8111-111111111111", benchPayload)
	m.Metadata = message.Metadata{
		"event_id": m.UUID, "event_type": "Benched", "event_version": "1", "aggregate_id": key, "aggregate_type": "Order",
		"aggregate_version": "3", "occurred_at": "2026-01-02T03:04:05.678901+00:00",
	}
	return m
}

type bench struct {
	b    *testing.B
	url  string
	kind rabbitbus.QueueType
}

func eachKind(b *testing.B, run func(x *bench)) {
	b.Helper()
	url := brokers.RabbitMQ(b)
	for _, kind := range kinds {
		b.Run(string(kind), func(b *testing.B) { run(&bench{b: b, url: url, kind: kind}) })
	}
}

func (x *bench) check(err error) {
	if err != nil {
		x.b.Helper()
		x.b.Fatal(err)
	}
}

func (x *bench) topology() rabbitbus.TopologyConfig {
	return rabbitbus.TopologyConfig{QueueType: x.kind}
}

// topic declares what the bus would.
func (x *bench) topic() string {
	topic := name(x.b, x.url, "bench")
	x.check(newSubscriber(x.b, rabbitbus.SubscriberConfig{Client: connect(x.b, x.url), Topology: x.topology()}).SubscribeInitialize(topic))
	return topic
}

// stock is the stock adapter's configuration for a topology that is there.
func (x *bench) stock(topic string, pool int) amqp.Config {
	c := amqp.NewDurablePubSubConfig(x.url, func(string) string { return topic + ".g" })
	c.Exchange.GenerateName = func(string) string { return topic }
	c.Exchange.Type = "topic"
	c.QueueBind.GenerateRoutingKey = func(string) string { return "#" }
	c.Publish.GenerateRoutingKey = func(string) string { return "Order.Benched" }
	c.Publish.ConfirmDelivery = true
	c.Publish.ChannelPoolSize = pool
	c.Consume.Qos.PrefetchCount = 100
	c.TopologyBuilder = builtAlready{}
	return c
}

// builtAlready keeps the stock adapter from declaring.
type builtAlready struct{}

func (builtAlready) BuildTopology(*amqp091.Channel, string, string, amqp.Config, watermill.LoggerAdapter) error {
	return nil
}

func (builtAlready) ExchangeDeclare(*amqp091.Channel, string, amqp.Config) error { return nil }

func (x *bench) stockPublisher(topic string, pool int) *amqp.Publisher {
	p, err := amqp.NewPublisher(x.stock(topic, pool), watermill.NopLogger{})
	x.check(err)
	x.b.Cleanup(func() { _ = p.Close() })
	return p
}

func (x *bench) publisher() *rabbitbus.Publisher {
	return newPublisher(x.b, rabbitbus.PublisherConfig{Client: connect(x.b, x.url)})
}

func (x *bench) rawPublish(ch *amqp091.Channel, topic string, batch []*message.Message) error {
	sure := make([]*amqp091.DeferredConfirmation, len(batch))
	for i, m := range batch {
		headers := make(amqp091.Table, len(m.Metadata)+1)
		for k, v := range m.Metadata {
			headers[k] = v
		}
		var err error
		sure[i], err = ch.PublishWithDeferredConfirm(topic, "Order.Benched", true, false, amqp091.Publishing{
			Headers: headers, ContentType: "application/json", DeliveryMode: 2, MessageId: m.UUID, Body: m.Payload,
		})
		if err != nil {
			return err
		}
	}
	for _, s := range sure {
		if !s.Wait() {
			return fmt.Errorf("nacked")
		}
	}
	return nil
}

func (x *bench) purge(topic string) {
	_, err := raw(x.b, x.url).QueuePurge(topic+".g", false)
	x.check(err)
}

func BenchmarkPublishBatchesOf100(b *testing.B) {
	eachKind(b, func(x *bench) {
		topic := x.topic()
		batch := make([]*message.Message, 100)
		for i := range batch {
			batch[i] = benchMessage("k")
		}
		each := func(publish func() error) func(int) time.Duration {
			return func(n int) time.Duration {
				began := time.Now()
				for range n / 100 {
					x.check(publish())
				}
				took := time.Since(began)
				x.purge(topic)
				return took
			}
		}
		ours, stock, ch := x.publisher(), x.stockPublisher(topic, 1), raw(x.b, x.url)
		x.check(ch.Confirm(false))
		compare(x.b,
			rival{"leat", 10000, each(func() error { return ours.Publish(topic, batch...) })},
			rival{"stock", 1000, each(func() error { return stock.Publish(topic, batch...) })},
			rival{"raw", 10000, each(func() error { return x.rawPublish(ch, topic, batch) })},
		)
	})
}

func Benchmark64PublishersOfOne(b *testing.B) {
	eachKind(b, func(x *bench) {
		topic := x.topic()
		each := func(p message.Publisher) func(int) time.Duration {
			return func(n int) time.Duration {
				began := time.Now()
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for range n / 64 {
							if err := p.Publish(topic, benchMessage("k")); err != nil {
								x.b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				took := time.Since(began)
				x.purge(topic)
				return took
			}
		}
		compare(x.b,
			rival{"leat", 6400, each(x.publisher())},
			rival{"stock16", 6400, each(x.stockPublisher(topic, 16))},
			rival{"stock64", 6400, each(x.stockPublisher(topic, 64))},
		)
	})
}

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
			rival{"leat", 10000, func(n int) time.Duration { return x.consumeOurs(n, 1, 1, 100, 0) }},
			rival{"stock", 5000, func(n int) time.Duration { return x.consumeStock(n, 1, 0) }},
			rival{"raw", 10000, x.consumeRaw},
		)
	})
}

func BenchmarkConsume64LanesHandlerOf1ms(b *testing.B) {
	eachKind(b, func(x *bench) {
		compare(x.b,
			rival{"leat", 10000, func(n int) time.Duration { return x.consumeOurs(n, 1000, 64, 1000, time.Millisecond) }},
			rival{"stock", 300, func(n int) time.Duration { return x.consumeStock(n, 1000, time.Millisecond) }},
		)
	})
}

// consumeOurs measures the bus: through router, decode and one handler, until
// the last event is handled.
func (x *bench) consumeOurs(n, keys, lanes, prefetch int, work time.Duration) time.Duration {
	topic := x.fill(n, keys)
	reg := eventbus.NewRegistry()
	x.check(eventbus.Register[benched](reg, "Benched", eventbus.AggregateType("Order")))
	bus, err := rabbitbus.Open(context.Background(), rabbitbus.Config{
		URL: x.url, ExchangeName: topic, ConsumerGroup: "g", QueueType: x.kind, Concurrency: lanes, PrefetchCount: prefetch, Registry: reg,
	})
	x.check(err)
	var handled atomic.Int64
	done := make(chan struct{})
	_, err = eventbus.Subscribe(bus, "h", func(context.Context, benched) error {
		if work > 0 {
			<-time.After(work)
		}
		if handled.Add(1) == int64(n) {
			close(done)
		}
		return nil
	})
	x.check(err)
	var ran sync.WaitGroup
	began := time.Now()
	ran.Go(func() { _ = bus.Run(context.Background()) })
	<-done
	took := time.Since(began)
	_, err = bus.Shutdown(context.Background())
	x.check(err)
	ran.Wait()
	return took
}

func (x *bench) consumeStock(n, keys int, work time.Duration) time.Duration {
	topic := x.fill(n, keys)
	sub, err := amqp.NewSubscriber(x.stock(topic, 1), watermill.NopLogger{})
	x.check(err)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	x.check(err)
	handled := 0
	done := make(chan struct{})
	r.AddConsumerHandler("h", topic, sub, func(m *message.Message) error {
		if work > 0 {
			<-time.After(work)
		}
		if err := decodeOne(m.Payload); err != nil {
			return err
		}
		if handled++; handled == n {
			close(done)
		}
		return nil
	})
	var ran sync.WaitGroup
	began := time.Now()
	ran.Go(func() { _ = r.Run(context.Background()) })
	<-done
	took := time.Since(began)
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
func (x *bench) consumeRaw(n int) time.Duration {
	topic := x.fill(n, 1)
	ch := raw(x.b, x.url)
	x.check(ch.Qos(100, 0, false))
	began := time.Now()
	out, err := ch.Consume(topic+".g", "", false, false, false, false, nil)
	x.check(err)
	for i := range n {
		d := <-out
		x.check(decodeOne(d.Body))
		if i%50 == 49 || i == n-1 {
			x.check(ch.Ack(d.DeliveryTag, true))
		}
	}
	return time.Since(began)
}

// BenchmarkEndToEnd is the time from publishing to the last handler, batches of
// 100, everything at once.
func BenchmarkEndToEnd(b *testing.B) {
	eachKind(b, func(x *bench) {
		compare(x.b,
			rival{"leat", 5000, func(n int) time.Duration {
				topic := x.topic()
				sub := newSubscriber(x.b, rabbitbus.SubscriberConfig{Client: connect(x.b, x.url), Topology: x.topology(), PrefetchCount: 100})
				return x.endToEnd(n, topic, x.publisher(), sub, 1)
			}},
			rival{"stock", 2000, func(n int) time.Duration {
				topic := x.topic()
				sub, err := amqp.NewSubscriber(x.stock(topic, 1), watermill.NopLogger{})
				x.check(err)
				x.b.Cleanup(func() { _ = sub.Close() })
				return x.endToEnd(n, topic, x.stockPublisher(topic, 16), sub, 16)
			}},
		)
	})
}

func (x *bench) endToEnd(n int, topic string, pub message.Publisher, sub message.Subscriber, publishers int) time.Duration {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out, err := sub.Subscribe(ctx, topic)
	x.check(err)
	began := time.Now()
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
	for range n / 100 / publishers * publishers * 100 {
		m := <-out
		x.check(decodeOne(m.Payload))
		m.Ack()
	}
	took := time.Since(began)
	wg.Wait()
	return took * time.Duration(n) / time.Duration(n/100/publishers*publishers*100)
}
