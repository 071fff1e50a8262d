package integration_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// stockKafkaSession is after how long a consumer with FastRecovery that is gone
// is missed.
const stockKafkaSession = 2 * time.Second

// stockKafka is a harness on the stock watermill-kafka adapter and a real Kafka.
// It confirms by all replicas and reads the history, which its defaults do not.
// Letters are published, and cannot be listed: the adapter has no reader that
// ends.
func stockKafka(t *testing.T) eventbustest.Harness {
	t.Helper()
	addr := brokers.KafkaBrokers(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(addr, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return eventbustest.Harness{
		IgnoreGoroutines: []string{"rcrowley/go-metrics"}, // one for all of sarama's metrics, for good
		Name:             "a bus on the stock watermill-kafka",
		Open: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
			t.Helper()
			return openStockKafka(t, client, addr, o)
		},
		Inject: func(t testing.TB, topic string, msg *message.Message) {
			t.Helper()
			pub, err := kafka.NewPublisher(stockKafkaPublisher(addr), watermill.NopLogger{})
			if err != nil {
				t.Fatal(err)
			}
			defer pub.Close()
			if err := pub.Publish(topic, msg); err != nil {
				t.Fatal(err)
			}
		},
		InjectForeign: func(t testing.TB, topic string) {
			t.Helper()
			if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: []byte("21")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		},
		RecoveryTime: 2 * stockKafkaSession,
		Small:        true,
		Lacks: eventbustest.Lacks{
			eventbustest.Synchronous:        "a broker stands between publisher and handlers",
			eventbustest.ParallelKeys:       "the adapter handles one message of a partition at a time",
			eventbustest.Concurrency:        "the adapter handles one message of a partition at a time",
			eventbustest.QuickShutdown:      "the adapter's consumer group takes half a second to leave",
			eventbustest.DeliveryLimit:      "the adapter counts no deliveries",
			eventbustest.Letters:            "the adapter has no way to read a topic up to its end",
			eventbustest.Secrets:            "it is opened with an address",
			eventbustest.CompetingConsumers: "with one partition, which its order needs, one consumer works and the other waits",
		},
	}
}

func stockKafkaPublisher(addr string) kafka.PublisherConfig {
	cfg := kafka.DefaultSaramaSyncPublisherConfig()
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	return kafka.PublisherConfig{Brokers: strings.Split(addr, ","), Marshaler: kafka.DefaultMarshaler{}, OverwriteSaramaConfig: cfg}
}

func openStockKafka(t testing.TB, client *kgo.Client, addr string, o eventbustest.Options) (eventbustest.Instance, error) {
	t.Helper()
	// Only a connection that breaks is what a crash is to the broker.
	p, err := proxy.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	cfg := kafka.DefaultSaramaSubscriberConfig()
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Consumer.Offsets.AutoCommit.Interval = 50 * time.Millisecond
	cfg.Net.Proxy.Enable, cfg.Net.Proxy.Dialer = true, toProxy{p.Addr()}
	cfg.Metadata.Retry.Max, cfg.Consumer.Retry.Backoff = 1, 100*time.Millisecond
	cfg.Consumer.Group.Session.Timeout, cfg.Consumer.Group.Heartbeat.Interval = stockKafkaSession, stockKafkaSession/5
	if _, err := kadm.NewClient(client).CreateTopics(t.Context(), 1, 1, nil, o.Topic, o.Topic+".dlq"); err != nil {
		t.Fatal(err)
	}
	stock, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: strings.Split(addr, ","), Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: o.Group,
		OverwriteSaramaConfig: cfg, ReconnectRetrySleep: 100 * time.Millisecond,
	}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := kafka.NewPublisher(stockKafkaPublisher(addr), watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stock.Close(), publisher.Close() })
	pub := eventbustest.NewStallPublisher(publisher)
	bc := eventbustest.Config(o)
	bc.Publisher, bc.Subscriber = pub, stock
	bus, err := eventbus.New(bc)
	if err != nil {
		return eventbustest.Instance{}, err
	}
	return eventbustest.Instance{
		Bus: bus, Stall: pub.Stall,
		Crash:     func() { _ = p.Refuse(); p.Cut() },
		StillOpen: func() error { return publisher.Publish(o.Topic+".dlq", message.NewMessage(watermill.NewUUID(), nil)) },
	}, nil
}

func TestStockKafka_Conformance(t *testing.T) { eventbustest.Run(t, stockKafka(t)) }

// Each lack of the adapter is real. When one of these fails, the adapter was
// mended: take the entry out of the harness's Lacks.
func TestStockKafka_LacksWhatItSays(t *testing.T) {
	eventbustest.ShowLacks(t, stockKafka(t), 3*time.Second)
}
