package kafkabus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
)

// The benchmarks run leat, the stock adapter and bare franz-go in turn, in one
// run and on one broker, round after round, and report the ratios of the
// medians: other programs on the machine hit all three alike. -benchtime=1x
// is enough for that; the times of the testing package itself mean nothing.
//
//	go test -run=NONE -bench=. -benchtime=1x ./eventbus/kafkabus

type rival struct {
	name string
	n    int // events a round
	run  func(n int) time.Duration
}

// compare runs the rivals in interleaved rounds and reports events a second
// and the ratios of leat to the others.
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

type bench struct {
	*testing.B
	client *kgo.Client
	pub    *kafkabus.Publisher
	topic  string
}

func newBench(b *testing.B, compression kafkabus.Compression) *bench {
	b.Helper()
	client := connect(b, kafkabus.ClientConfig{BootstrapServers: brokers.KafkaBrokers(b), Compression: compression})
	x := &bench{B: b, client: client, topic: name("bench")}
	x.pub = newPublisher(b, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	publish(b, x.pub, x.topic, batch(1)...)
	return x
}

func (x *bench) stockPublisher() *kafka.Publisher {
	x.Helper()
	p, err := kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: []string{brokers.KafkaBrokers(x)}, Marshaler: kafka.DefaultMarshaler{},
	}, watermill.NopLogger{})
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { _ = p.Close() })
	return p
}

func BenchmarkPublish100ACall(b *testing.B) {
	for what, compression := range map[string]kafkabus.Compression{"gzip": kafkabus.Gzip, "none": kafkabus.Uncompressed} {
		b.Run(what, func(b *testing.B) {
			x := newBench(b, compression)
			stock := x.stockPublisher()
			calls := func(publish func([]*message.Message)) func(int) time.Duration {
				msgs := batch(100)
				return func(n int) time.Duration {
					began := time.Now()
					for range n / 100 {
						publish(msgs)
					}
					return time.Since(began)
				}
			}
			compare(b,
				rival{"leat", 20000, calls(func(m []*message.Message) { publish(x, x.pub, x.topic, m...) })},
				rival{"stock", 500, calls(func(m []*message.Message) { publish(x, stock, x.topic, m...) })},
				rival{"raw", 20000, calls(func(m []*message.Message) {
					records := make([]*kgo.Record, len(m))
					for i, m := range m {
						headers := make([]kgo.RecordHeader, 0, len(m.Metadata)+1)
						for k, v := range m.Metadata {
							headers = append(headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
						}
						headers = append(headers, kgo.RecordHeader{Key: "_watermill_message_uuid", Value: []byte(m.UUID)})
						records[i] = &kgo.Record{Topic: x.topic, Key: []byte(m.Metadata["aggregate_id"]), Value: m.Payload, Headers: headers}
					}
					if err := x.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
						x.Fatal(err)
					}
				})},
			)
		})
	}
}

func BenchmarkPublish512Publishers(b *testing.B) {
	x := newBench(b, kafkabus.Gzip)
	stock := x.stockPublisher()
	crowd := func(p message.Publisher) func(int) time.Duration {
		return func(n int) time.Duration {
			var wg sync.WaitGroup
			began := time.Now()
			for w := range 512 {
				wg.Go(func() {
					for i := range n / 512 {
						if err := p.Publish(x.topic, msg(fmt.Sprint(w, "-", i), fmt.Sprint(w))); err != nil {
							x.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
	}
	compare(b, rival{"leat", 512 * 20, crowd(x.pub)}, rival{"stock", 512 * 10, crowd(stock)})
}

// Stock handles one message a partition at a time: four lanes are the same.
func BenchmarkConsumeThroughRouter(b *testing.B) { consumeThroughRouter(b, 0, 4, 20000, 20000) }

func BenchmarkConsume64LanesHandlerOf1ms(b *testing.B) {
	consumeThroughRouter(b, time.Millisecond, 64, 10000, 1000)
}

func consumeThroughRouter(b *testing.B, work time.Duration, lanes, ours, theirs int) {
	b.Helper()
	x := newBench(b, kafkabus.Gzip)
	routed := func(open func(n int) (message.Subscriber, string)) func(int) time.Duration {
		return func(n int) time.Duration {
			sub, topic := open(n)
			router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
			if err != nil {
				x.Fatal(err)
			}
			var handled, began atomic.Int64
			done := make(chan struct{})
			router.AddConsumerHandler("h", topic, sub, func(*message.Message) error {
				began.CompareAndSwap(0, time.Now().UnixNano()) // joining a group is no work
				if work > 0 {
					<-time.After(work)
				}
				if handled.Add(1) == int64(n) {
					close(done)
				}
				return nil
			})
			go func() { _ = router.Run(context.Background()) }()
			<-done
			took := time.Since(time.Unix(0, began.Load()))
			_ = router.Close()
			return took
		}
	}
	fill := func(n int) string {
		topic := name("bench")
		pub := newPublisher(x, kafkabus.PublisherConfig{Client: x.client, Topics: kafkabus.TopicConfig{Partitions: 4}})
		for i := 0; i < n; i += 500 {
			var msgs []*message.Message
			for j := range min(500, n-i) {
				msgs = append(msgs, msg(fmt.Sprint(i+j), fmt.Sprint("k", (i+j)%1000)))
			}
			publish(x, pub, topic, msgs...)
		}
		return topic
	}
	compare(b,
		rival{"leat", ours, routed(func(n int) (message.Subscriber, string) {
			return newSubscriber(x, kafkabus.SubscriberConfig{Client: x.client, Concurrency: lanes}), fill(n)
		})},
		rival{"stock", theirs, routed(func(n int) (message.Subscriber, string) {
			cfg := kafka.DefaultSaramaSubscriberConfig()
			cfg.Consumer.Offsets.Initial = -2 // oldest
			sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{
				Brokers: []string{brokers.KafkaBrokers(x)}, Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: name("g"),
				OverwriteSaramaConfig: cfg,
			}, watermill.NopLogger{})
			if err != nil {
				x.Fatal(err)
			}
			return sub, fill(n)
		})},
	)
}
