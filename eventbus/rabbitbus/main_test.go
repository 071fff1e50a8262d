package rabbitbus_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/internal/offspring"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperURL) != "" {
		offspring.EndWithParent()
		if err := help(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}

// patience bounds every wait of these tests; none is expected to take long.
const patience = 2 * time.Minute

// connect returns a client, closed with the test.
func connect(t testing.TB, url string) *rabbitbus.Client {
	t.Helper()
	client, err := rabbitbus.Connect(context.WithoutCancel(t.Context()), rabbitbus.ClientConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// raw returns a channel of the plain client, to look at the broker with.
func raw(t testing.TB, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// name returns an exchange name that no other test has. What a test declares
// for it and group "g" is removed with the test.
func name(t testing.TB, url, kind string) string {
	t.Helper()
	var b [5]byte
	_, _ = rand.Read(b[:])
	exchange := "leat-test." + kind + "." + hex.EncodeToString(b[:])
	t.Cleanup(func() { remove(t, url, exchange, "g", "other") })
	return exchange
}

func remove(t testing.TB, url, exchange string, groups ...string) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		return // a private broker that is gone
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return
	}
	for _, g := range groups {
		queue := rabbitbus.QueueName(exchange, g)
		_, _ = ch.QueueDelete(queue, false, false, false)
		_, _ = ch.QueueDelete(rabbitbus.DeadQueueName(queue), false, false, false)
	}
	_ = ch.ExchangeDelete(exchange, false, false)
	_ = ch.ExchangeDelete(rabbitbus.DeadExchangeName(exchange), false, false)
}

func newPublisher(t testing.TB, cfg rabbitbus.PublisherConfig) *rabbitbus.Publisher {
	t.Helper()
	p, err := rabbitbus.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
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
	m.Metadata["aggregate_type"] = "Test"
	if key != "" {
		m.Metadata["aggregate_id"] = key
	}
	return m
}

func batch(n int, key string) []*message.Message {
	msgs := make([]*message.Message, n)
	for i := range msgs {
		msgs[i] = msg(fmt.Sprint(i), key)
	}
	return msgs
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

// none fails when a message comes within the time.
func none(t testing.TB, out <-chan *message.Message, within time.Duration) {
	t.Helper()
	select {
	case m, ok := <-out:
		if ok {
			t.Fatalf("message %s came, want none", m.UUID)
		}
	case <-time.After(within):
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// ready returns how many messages wait in a queue.
func ready(t testing.TB, ch *amqp.Channel, queue string) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
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

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.seen, "\n")
}
