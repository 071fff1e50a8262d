package redisbus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
	"github.com/leat-go/leat/integration/rivals"
)

// The benchmarks run leat, the stock adapter and bare go-redis in turn; see
// package rivals for the metrics.
//
//	go test -run=NONE -bench=. -benchtime=1x ./eventbus/redisbus

const rounds = 7

// compare runs rivals whose rounds need no more than a clock.
func compare(b *testing.B, events map[string]int, each ...rival) {
	b.Helper()
	all := make([]rivals.Rival, len(each))
	for i, r := range each {
		all[i] = rivals.Rival{Name: r.name, Events: events[r.name], Run: func(n int) rivals.Cost { return r.run(n) }}
	}
	rivals.Compare(b, rounds, all...)
}

type rival struct {
	name string
	run  func(n int) rivals.Cost
}

type benchEvent struct {
	eventbus.Base

	CustomerID string  `json:"customer_id"`
	Amount     float64 `json:"amount"`
	Note       string  `json:"note"`
}

var benchPayload = []byte(`{"event_id":"11111111-1111-4111-8111-111111111111","event_type":"Benched","event_version":1,"occurred_at":"2026-01-02T03:04:05.678901Z","aggregate_id":"22222222-2222-4222-8222-222222222222","aggregate_type":"Order","aggregate_version":3,"tenant_id":null,"actor_id":null,"correlation_id":"44444444-4444-4444-8444-444444444444","causation_id":null,"metadata":{},"customer_id":"33333333-3333-4333-8333-333333333333","amount":12.5,"note":"a note"}`)

func benchMessage(key string) *message.Message {
	m := full()
	m.Payload = benchPayload
	m.Metadata["event_type"] = "Benched"
	delete(m.Metadata, "empty")
	delete(m.Metadata, "zebra")
	if key != "" {
		m.Metadata["aggregate_id"] = key
	}
	return m
}

// bench is a server of the benchmark's own, with clients that go through a
// delay when that is asked for.
type bench struct {
	b    *testing.B
	addr string
	mu   sync.Mutex
	n    int
}

func newBench(b *testing.B, delay time.Duration) *bench {
	b.Helper()
	server := brokers.StartRedis(b, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	addr := server.Addr()
	if delay > 0 {
		p, err := proxy.Start(addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = p.Close() })
		p.Delay(delay / 2)
		addr = p.Addr()
	}
	return &bench{b: b, addr: addr}
}

func (x *bench) client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: x.addr, MaxRetries: -1})
	x.b.Cleanup(func() { _ = c.Close() })
	return c
}

func (x *bench) stream() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.n++
	return fmt.Sprint("bench-", x.n)
}

func (x *bench) check(err error) {
	if err != nil {
		x.b.Helper()
		x.b.Fatal(err)
	}
}

func (x *bench) stockPublisher() *redisstream.Publisher {
	p, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: x.client()}, nil)
	x.check(err)
	return p
}

func (x *bench) stockSubscriber() *redisstream.Subscriber {
	s, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: x.client(), ConsumerGroup: "g", BlockTime: 20 * time.Millisecond, DisableIndefiniteInitialBlock: true,
	}, nil)
	x.check(err)
	return s
}

func (x *bench) publisher() *redisbus.Publisher {
	return newPublisher(x.b, redisbus.PublisherConfig{Client: x.client()})
}

func rawAdd(pipe redis.Pipeliner, stream string, m *message.Message) {
	pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: stream, Values: []any{
		"_watermill_message_uuid", m.UUID, "metadata", rawMetadata, "payload", []byte(m.Payload),
	}})
}

// rawMetadata is as long as ours, and nobody has to encode it.
var rawMetadata = []byte(strings.Repeat(".", 391))

func BenchmarkPublishBatchesOf100(b *testing.B) { publishBatches(b, 0) }

func BenchmarkPublishBatchesOf100_800us(b *testing.B) { publishBatches(b, 800*time.Microsecond) }

func publishBatches(b *testing.B, delay time.Duration) {
	b.Helper()
	x := newBench(b, delay)
	batch := make([]*message.Message, 100)
	for i := range batch {
		batch[i] = benchMessage("")
	}
	ours, stock, raw := x.publisher(), x.stockPublisher(), x.client()
	each := func(publish func(stream string) error) func(int) rivals.Cost {
		return func(n int) rivals.Cost {
			stream := x.stream()
			return rivals.Meter(func() {
				for range n / len(batch) {
					x.check(publish(stream))
				}
			})
		}
	}
	events := map[string]int{"leat": 20000, "stock": 2000, "raw": 20000}
	if delay > 0 {
		events = map[string]int{"leat": 10000, "stock": 200, "raw": 10000}
	}
	compare(b, events,
		rival{"leat", each(func(s string) error { return ours.Publish(s, batch...) })},
		rival{"stock", each(func(s string) error { return stock.Publish(s, batch...) })},
		rival{"raw", each(func(s string) error {
			pipe := raw.Pipeline()
			for _, m := range batch {
				rawAdd(pipe, s, m)
			}
			_, err := pipe.Exec(context.Background())
			return err
		})},
	)
}

func Benchmark64PublishersOfOne(b *testing.B) { manyPublishers(b, 0) }

func Benchmark64PublishersOfOne_800us(b *testing.B) { manyPublishers(b, 800*time.Microsecond) }

func manyPublishers(b *testing.B, delay time.Duration) {
	b.Helper()
	x := newBench(b, delay)
	ours, stock := x.publisher(), x.stockPublisher()
	each := func(p message.Publisher) func(int) rivals.Cost {
		return func(n int) rivals.Cost {
			stream := x.stream()
			msgs := make([]*message.Message, n) // a message is nobody's to publish twice at once
			for i := range msgs {
				msgs[i] = benchMessage("")
			}
			return rivals.Meter(func() {
				var wg sync.WaitGroup
				for share := range slices.Chunk(msgs, n/64) {
					wg.Go(func() {
						for _, m := range share {
							if err := p.Publish(stream, m); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
	compare(b, map[string]int{"leat": 12800, "stock": 12800}, rival{"leat", each(ours)}, rival{"stock", each(stock)})
}
