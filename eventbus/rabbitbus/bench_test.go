package rabbitbus_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/rivals"
)

// The benchmarks run leat, the stock adapter and bare amqp091-go in turn; see
// package rivals for the metrics.
//
//	go test -run=NONE -bench=. -benchtime=1x ./eventbus/rabbitbus

type rival struct {
	name string
	n    int // events a round
	run  func(n int) rivals.Cost
}

func compare(b *testing.B, each ...rival) {
	b.Helper()
	const rounds = 9
	all := make([]rivals.Rival, len(each))
	for i, r := range each {
		all[i] = rivals.Rival{Name: r.name, Events: r.n, Run: r.run}
	}
	rivals.Compare(b, rounds, all...)
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
		each := func(publish func() error) func(int) rivals.Cost {
			return func(n int) rivals.Cost {
				defer x.purge(topic)
				return rivals.Meter(func() {
					for range n / 100 {
						x.check(publish())
					}
				})
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

// The bare client writes for all on one channel, as leat does.
func Benchmark64PublishersOfOne(b *testing.B) {
	eachKind(b, func(x *bench) {
		topic := x.topic()
		each := func(publish func(m *message.Message) error) func(int) rivals.Cost {
			return func(n int) rivals.Cost {
				defer x.purge(topic)
				msgs := make([]*message.Message, n)
				for i := range msgs {
					msgs[i] = benchMessage("k")
				}
				return rivals.Meter(func() {
					var wg sync.WaitGroup
					for share := range slices.Chunk(msgs, n/64) {
						wg.Go(func() {
							for _, m := range share {
								if err := publish(m); err != nil {
									x.b.Error(err)
								}
							}
						})
					}
					wg.Wait()
				})
			}
		}
		by := func(p message.Publisher) func(int) rivals.Cost {
			return each(func(m *message.Message) error { return p.Publish(topic, m) })
		}
		bare := raw(x.b, x.url)
		x.check(bare.Confirm(false))
		compare(x.b,
			rival{"leat", 6400, by(x.publisher())},
			rival{"stock16", 6400, by(x.stockPublisher(topic, 16))},
			rival{"stock64", 6400, by(x.stockPublisher(topic, 64))},
			rival{"raw", 6400, each(func(m *message.Message) error { return x.rawPublish(bare, topic, []*message.Message{m}) })},
		)
	})
}
