package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) {
	// What the stock adapters leave behind when they are closed.
	leaktest.Main(m, "rcrowley/go-metrics")
}

// wantStory runs the story on a broker and accounts for every order.
func wantStory(t *testing.T, open opener, url, topic string) {
	t.Helper()
	b, err := open(t.Context(), url, topic)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := &story{broker: b, books: newBooks(), out: &out, orders: 120}
	if err := s.tell(t.Context()); err != nil {
		t.Errorf("%v", err)
	}
	t.Log(out.String())
	if len(s.books.placed) != 120 {
		t.Fatalf("%d orders placed, want 120", len(s.books.placed))
	}
	stock, leat, ship, mail := s.books.of("billing, stock"), s.books.of("billing, leat"), s.books.of("ship"), s.books.of("mail")
	expected := s.books.expected(b.history)
	if len(stock) < 12 || len(leat) < 12 || len(expected) < 12 || len(mail) < len(expected) {
		t.Errorf("not everybody took part: billed %d and %d, to ship %d, mail %d", len(stock), len(leat), len(expected), len(mail))
	}
	for order := range s.books.placed {
		if stock[order]+leat[order] == 0 {
			t.Errorf("nobody has billed %s", order)
		}
	}
	for order := range expected {
		if ship[order] != 1 || mail[order] == 0 {
			t.Errorf("%s was shipped %d times, mail was sent %d times", order, ship[order], mail[order])
		}
	}
	for who, done := range map[string]map[string]int{"stock": stock, "leat": leat, "ship": ship, "mail": mail} {
		for order := range done {
			if !s.books.placed[order] {
				t.Errorf("%s knows an order that nobody has placed: %q", who, order)
			}
		}
	}
}

func TestStory_Redis(t *testing.T) {
	t.Parallel()
	address, topic := brokers.Redis(t), "existing-test-"+eventbus.NewID()
	wantStory(t, openRedis, address, topic)
	opts, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	defer client.Close()
	if n, err := client.Exists(context.Background(), topic, topic+".dlq").Result(); err != nil || n != 0 {
		t.Errorf("%d streams are left, %v", n, err)
	}
}

func TestStory_RabbitMQ(t *testing.T) {
	t.Parallel()
	address, topic := brokers.RabbitMQ(t), "existing-test-"+eventbus.NewID()
	wantStory(t, openRabbitMQ, address, topic)
	conn, err := amqp091.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, queue := range []string{topic + "_billing", topic + "_mail", topic + ".shipping", topic + ".shipping.dlq"} {
		ch, err := conn.Channel() // a question about what is not there closes it
		if err != nil {
			t.Fatal(err)
		}
		var gone *amqp091.Error
		if _, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil); !errors.As(err, &gone) || gone.Code != amqp091.NotFound {
			t.Errorf("the queue %s is left: %v", queue, err)
		}
	}
}

func TestStory_Kafka(t *testing.T) {
	t.Parallel()
	address, topic := brokers.KafkaBrokers(t), "existing-test-"+eventbus.NewID()
	wantStory(t, openKafka, address, topic)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(address, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	late := time.After(20 * time.Second) // a deleted topic goes away in its own time
	for {
		topics, err := kadm.NewClient(client).ListTopics(t.Context())
		if err == nil && !topics.Has(topic) && !topics.Has(topic+".dlq") {
			return
		}
		select {
		case <-late:
			t.Fatalf("the topic is left, %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func TestRun_SaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	for bus, address := range map[string]string{
		"redis": "redis://me:hush@127.0.0.1:1", "rabbitmq": "amqp://me:hush@127.0.0.1:1/", "kafka": "127.0.0.1:1",
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"-bus=" + bus, "-url=" + address}, &out, &errs)
		said := errs.String()
		if code != 2 || !strings.HasPrefix(said, "This needs "+bus+", as `eval ") || strings.Contains(said, "hush") || out.Len() > 0 {
			t.Errorf("%s: code %d, %s%s", bus, code, out.String(), said)
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-bus=pigeons"}, &out, &errs); code != 2 || errs.String() != "-bus: \"pigeons\" is none of redis, rabbitmq, kafka\n" {
		t.Errorf("code %d, %s", code, errs.String())
	}
}
