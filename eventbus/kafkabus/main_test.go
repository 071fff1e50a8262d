package kafkabus_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

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

func subscribe(t testing.TB, s *kafkabus.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	out, err := s.Subscribe(context.WithoutCancel(t.Context()), topic)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func publish(t testing.TB, p message.Publisher, topic string, msgs ...*message.Message) {
	t.Helper()
	if err := p.Publish(topic, msgs...); err != nil {
		t.Fatal(err)
	}
}

func msg(uuid, key string) *message.Message {
	m := message.NewMessage(uuid, []byte(`{"n":"`+uuid+`"}`))
	m.Metadata["event_type"] = "Tested"
	if key != "" {
		m.Metadata["aggregate_id"] = key
	}
	return m
}

// next returns the next message, unsettled.
func next(t testing.TB, out <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-out:
		if !ok {
			t.Fatal("the channel was closed, want a message")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
	}
	return nil
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// lines is a logger that keeps what it is told.
type lines struct {
	mu   sync.Mutex
	seen []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.seen = append(l.seen, text)
	return nil
}

func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lines) WithGroup(string) slog.Handler      { return l }

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.seen...)
}
