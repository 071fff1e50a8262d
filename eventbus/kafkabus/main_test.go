package kafkabus_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/internal/offspring"
)

// The suite's own helper, and sarama's metrics, leave goroutines behind.
func TestMain(m *testing.M) {
	if os.Getenv(helperBrokers) != "" {
		offspring.EndWithParent()
		if err := help(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m, "watermill/internal/subscriber", "rcrowley/go-metrics")
}

// patience bounds every wait of these tests; none is expected to take long.
const patience = 30 * time.Second

// What these tests have in common with those of the other backends.
var (
	next       = bustest.Patience(patience).Next
	eventually = bustest.Patience(patience).Eventually
	subscribe  = bustest.Subscribe
	publish    = bustest.Publish
	msg        = bustest.Message
	gauge      = bustest.Gauge
)

// lines is a logger that keeps what it is told.
type lines = bustest.Log

// shared returns a client of the Kafka that all tests share.
func shared(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return connect(t, kafkabus.ClientConfig{BootstrapServers: brokers.KafkaBrokers(t), Options: opts})
}

func connect(t testing.TB, cfg kafkabus.ClientConfig) *kgo.Client {
	t.Helper()
	client, err := kafkabus.OpenClient(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// name returns a topic or group name that no other test has.
func name(kind string) string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return "leat-test." + kind + "." + hex.EncodeToString(b[:])
}

func newPublisher(t testing.TB, cfg kafkabus.PublisherConfig) *kafkabus.Publisher {
	t.Helper()
	p, err := kafkabus.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func newSubscriber(t testing.TB, cfg kafkabus.SubscriberConfig) *kafkabus.Subscriber {
	t.Helper()
	if cfg.ConsumerGroup == "" {
		cfg.ConsumerGroup = name("g")
	}
	if cfg.SessionTimeout == 0 { // members learn of each other by heartbeats
		cfg.SessionTimeout = 6 * time.Second
	}
	if cfg.HeartbeatInterval == 0 {
		cfg.HeartbeatInterval = 300 * time.Millisecond
	}
	s, err := kafkabus.NewSubscriber(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = s.Drain(ctx)
	})
	return s
}
