package kafkabus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/rivals"
)

// The benchmarks run leat, the stock adapter and the bare clients in turn; see
// package rivals for the metrics.
//
//	go test -run=NONE -bench=. -benchtime=1x ./eventbus/kafkabus

type rival struct {
	name string
	n    int // events a round
	run  func(n int) time.Duration
}

func compare(b *testing.B, each ...rival) {
	b.Helper()
	const rounds = 5
	all := make([]rivals.Rival, len(each))
	for i, r := range each {
		all[i] = rivals.Rival{Name: r.name, Events: r.n, Run: func(n int) rivals.Cost { return rivals.Cost{Took: r.run(n)} }}
	}
	rivals.Compare(b, rounds, all...)
}

type bench struct {
	*testing.B
	client *kgo.Client
	pub    *kafkabus.Publisher
	topic  string
	count  *requests
}

func newBench(b *testing.B, compression kafkabus.Compression) *bench {
	b.Helper()
	count := &requests{}
	client := connect(b, kafkabus.ClientConfig{
		BootstrapServers: brokers.KafkaBrokers(b), Compression: compression, Options: []kgo.Opt{kgo.WithHooks(count)},
	})
	x := &bench{B: b, client: client, topic: name("bench"), count: count}
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

func (x *bench) stockSubscriber() *kafka.Subscriber {
	x.Helper()
	cfg := kafka.DefaultSaramaSubscriberConfig()
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: []string{brokers.KafkaBrokers(x)}, Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: name("g"),
		OverwriteSaramaConfig: cfg,
	}, watermill.NopLogger{})
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { _ = sub.Close() })
	return sub
}

func BenchmarkPublish100ACall(b *testing.B) {
	for _, c := range []struct {
		name   string
		ours   kafkabus.Compression
		sarama sarama.CompressionCodec
	}{{"gzip", kafkabus.Gzip, sarama.CompressionGZIP}, {"none", kafkabus.Uncompressed, sarama.CompressionNone}} {
		b.Run(c.name, func(b *testing.B) {
			x := newBench(b, c.ours)
			stock, bare := x.stockPublisher(), x.sarama(c.sarama)
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
			ours := calls(func(m []*message.Message) { publish(x, x.pub, x.topic, m...) })
			var requests float64
			compare(b,
				rival{"leat", 40000, func(n int) time.Duration {
					before := x.count.produce.Load()
					took := ours(n)
					requests = float64(x.count.produce.Load()-before) / float64(n/100)
					return took
				}},
				rival{"stock", 500, calls(func(m []*message.Message) { publish(x, stock, x.topic, m...) })},
				rival{"raw", 40000, calls(func(m []*message.Message) {
					records := make([]*kgo.Record, len(m))
					for i, m := range m {
						records[i] = x.raw(m)
					}
					if err := x.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
						x.Fatal(err)
					}
				})},
				rival{"sarama", 10000, calls(func(m []*message.Message) {
					list := make([]*sarama.ProducerMessage, len(m))
					for i, m := range m {
						list[i] = x.saramaMessage(m)
					}
					if err := bare.SendMessages(list); err != nil {
						x.Fatal(err)
					}
				})},
			)
			b.ReportMetric(requests, "requests/call")
		})
	}
}

// raw returns the shape of leat's records without leat: for the bare clients.
func (x *bench) raw(m *message.Message) *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, len(m.Metadata)+1)
	for k, v := range m.Metadata {
		headers = append(headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	headers = append(headers, kgo.RecordHeader{Key: "_watermill_message_uuid", Value: []byte(m.UUID)})
	return &kgo.Record{Topic: x.topic, Key: []byte(m.Metadata["aggregate_id"]), Value: m.Payload, Headers: headers}
}

// sarama returns a bare sarama producer with the same guarantees: idempotent,
// acks of all, compressed alike.
func (x *bench) sarama(compression sarama.CompressionCodec) sarama.SyncProducer {
	x.Helper()
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_8_0_0
	cfg.Producer.Return.Successes, cfg.Producer.RequiredAcks = true, sarama.WaitForAll
	cfg.Producer.Idempotent, cfg.Net.MaxOpenRequests = true, 1
	cfg.Producer.Compression = compression
	p, err := sarama.NewSyncProducer([]string{brokers.KafkaBrokers(x)}, cfg)
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { _ = p.Close() })
	return p
}

func (x *bench) saramaMessage(m *message.Message) *sarama.ProducerMessage {
	headers := make([]sarama.RecordHeader, 0, len(m.Metadata)+1)
	for k, v := range m.Metadata {
		headers = append(headers, sarama.RecordHeader{Key: []byte(k), Value: []byte(v)})
	}
	headers = append(headers, sarama.RecordHeader{Key: []byte("_watermill_message_uuid"), Value: []byte(m.UUID)})
	return &sarama.ProducerMessage{
		Topic: x.topic, Key: sarama.StringEncoder(m.Metadata["aggregate_id"]), Value: sarama.ByteEncoder(m.Payload), Headers: headers,
	}
}

// The stock publisher compresses nothing.
func BenchmarkPublish512Publishers(b *testing.B) {
	b.Run("gzip", func(b *testing.B) { benchmarkCrowd(b, kafkabus.Gzip) })
	b.Run("none", func(b *testing.B) { benchmarkCrowd(b, kafkabus.Uncompressed) })
}

func benchmarkCrowd(b *testing.B, compression kafkabus.Compression) {
	b.Helper()
	x := newBench(b, compression)
	stock := x.stockPublisher()
	crowd := func(publish func(m *message.Message) error) func(int) time.Duration {
		return func(n int) time.Duration {
			msgs := make([]*message.Message, n)
			for i := range msgs {
				msgs[i] = msg(fmt.Sprint(i), fmt.Sprint(i/512))
			}
			var wg sync.WaitGroup
			began := time.Now()
			for share := range slices.Chunk(msgs, n/512) {
				wg.Go(func() {
					for _, m := range share {
						if err := publish(m); err != nil {
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
	ours := crowd(func(m *message.Message) error { return x.pub.Publish(x.topic, m) })
	var requests float64
	// The bare client lingers for 5 ms; each publisher waits for its own.
	compare(b,
		rival{"leat", 512 * 100, func(n int) time.Duration {
			before := x.count.produce.Load()
			took := ours(n)
			requests = float64(x.count.produce.Load() - before)
			return took
		}},
		rival{"stock", 512 * 50, crowd(func(m *message.Message) error { return stock.Publish(x.topic, m) })},
		rival{"raw", 512 * 60, crowd(func(m *message.Message) error {
			done := make(chan error, 1)
			x.client.Produce(context.Background(), x.raw(m), func(_ *kgo.Record, err error) { done <- err })
			return <-done
		})},
	)
	b.ReportMetric(512*100/requests, "events/request")
}

// End to end: published in calls of 100, or by one stock publisher one by one,
// and consumed meanwhile by a handler that does nothing.
func BenchmarkEndToEnd(b *testing.B) {
	x := newBench(b, kafkabus.Gzip)
	through := func(sub message.Subscriber, topic string, publish func(ids []string)) func(int) time.Duration {
		out, err := sub.Subscribe(context.WithoutCancel(x.Context()), topic)
		if err != nil {
			x.Fatal(err)
		}
		arrived := make(chan int, 1)
		wanted := make(chan int)
		go func() {
			for n := range wanted {
				for range n {
					m := <-out
					m.Ack()
				}
				arrived <- n
			}
		}()
		x.Cleanup(func() { close(wanted) })
		round := func(n int) time.Duration {
			began := time.Now()
			wanted <- n
			for i := 0; i < n; i += 100 {
				ids := make([]string, min(100, n-i))
				for j := range ids {
					ids[j] = fmt.Sprint(i + j)
				}
				publish(ids)
			}
			<-arrived
			return time.Since(began)
		}
		round(100) // joins the group
		return round
	}
	messages := func(ids []string) []*message.Message {
		list := make([]*message.Message, len(ids))
		for i, id := range ids {
			list[i] = msg(id, "k"+id)
		}
		return list
	}
	sub := newSubscriber(x, kafkabus.SubscriberConfig{Client: x.client, Concurrency: 64})
	stockTopic, rawTopic := newTopic(x, "bench", 4, nil), newTopic(x, "bench", 4, nil)
	stock, stockSub := x.stockPublisher(), x.stockSubscriber()
	raw := *x
	raw.topic = rawTopic
	compare(b,
		rival{"leat", 40000, through(sub, x.topic, func(ids []string) { publish(x, x.pub, x.topic, messages(ids)...) })},
		rival{"stock", 500, through(stockSub, stockTopic, func(ids []string) { publish(x, stock, stockTopic, messages(ids)...) })},
		rival{"raw", 40000, through(&rawSubscriber{x}, rawTopic, func(ids []string) {
			var records []*kgo.Record
			for _, m := range messages(ids) {
				records = append(records, raw.raw(m))
			}
			if err := x.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
				x.Fatal(err)
			}
		})},
	)
}

// rawSubscriber polls a group with the bare client and makes messages of the
// records: nothing is acknowledged.
type rawSubscriber struct{ *bench }

// Subscribe polls.
func (s *rawSubscriber) Subscribe(_ context.Context, topic string) (<-chan *message.Message, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers.KafkaBrokers(s)), kgo.ConsumerGroup(name("g")), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return nil, err
	}
	s.Cleanup(client.Close)
	out := make(chan *message.Message)
	done := make(chan struct{})
	s.Cleanup(func() { close(done) })
	go func() {
		for {
			fetches := client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			for _, r := range fetches.Records() {
				m := message.NewMessage("", r.Value)
				for _, h := range r.Headers {
					m.Metadata[h.Key] = string(h.Value)
				}
				select {
				case out <- m:
				case <-done:
					return
				}
			}
		}
	}()
	return out, nil
}

// Close does nothing: the benchmark's end does.
func (s *rawSubscriber) Close() error { return nil }
