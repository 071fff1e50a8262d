package rabbitbus_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus/internal/bustest"
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

// What these tests have in common with those of the other backends.
var (
	next       = bustest.Patience(patience).Next
	none       = bustest.None
	eventually = bustest.Patience(patience).Eventually
	subscribe  = bustest.Subscribe
	publish    = bustest.Publish
)

// lines is a logger that keeps what it is told.
type lines = bustest.Log

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

func msg(uuid, key string) *message.Message {
	m := bustest.Message(uuid, key)
	m.Metadata["aggregate_type"] = "Test"
	return m
}

func batch(n int, key string) []*message.Message {
	msgs := make([]*message.Message, n)
	for i := range msgs {
		msgs[i] = msg(fmt.Sprint(i), key)
	}
	return msgs
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
