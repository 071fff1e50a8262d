package rabbitbus_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// openStore returns the letters of group "g" of an exchange that has its topology.
func openStore(t testing.TB, url, exchange string, topology rabbitbus.TopologyConfig) *rabbitbus.Store {
	t.Helper()
	client := connect(t, url)
	s, err := rabbitbus.NewStore(rabbitbus.StoreConfig{
		Client: client, Publisher: newPublisher(t, rabbitbus.PublisherConfig{Client: client}),
		Exchange: exchange, ConsumerGroup: "g", Topology: topology,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		url := brokers.RabbitMQ(t)
		dlqtest.Run(t, func(t *testing.T) dlq.Store {
			t.Helper()
			return openStore(t, url, name(t, url, "store"), topology)
		})
	})
}

func letters(t testing.TB, s dlq.Store, q dlq.Query) []dlq.Letter {
	t.Helper()
	var out []dlq.Letter
	for l, err := range s.List(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func TestStore_TenThousandLettersAndTwoListers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		url := brokers.RabbitMQ(t)
		exchange := name(t, url, "many")
		one, two := openStore(t, url, exchange, topology), openStore(t, url, exchange, topology)
		if _, err := one.Bury(t.Context(), dlqtest.Letter(0)); err != nil {
			t.Fatal(err)
		}
		pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url), Topology: rabbitbus.TopologyConfig{ExchangeType: rabbitbus.ExchangeDirect}})
		total := 10_000
		if raced {
			total = 2_000
		}
		var pending []*message.Message
		for n := 1; n < total; n++ {
			l := dlqtest.Letter(n)
			l.ID = fmt.Sprint(n)
			m := l.Message()
			m.Metadata["_amqp"] = fmt.Sprintf(`{"key":%q}`, exchange+".g")
			pending = append(pending, m)
		}
		publish(t, pub, rabbitbus.DeadExchangeName(exchange), pending...)
		counts := make(chan error, 2)
		for _, s := range []*rabbitbus.Store{one, two} {
			go func() {
				for round := range 2 {
					i := 0
					for l, err := range s.List(t.Context(), dlq.Query{}) {
						if err != nil {
							counts <- err
							return
						}
						if l.MessageID != fmt.Sprintf("message-%d", i) {
							counts <- fmt.Errorf("round %d: letter %d is %s", round, i, l.MessageID)
							return
						}
						i++
					}
					if n, err := s.Count(t.Context()); err != nil || n != int64(total) || i != total {
						counts <- fmt.Errorf("round %d: %d listed, %d counted (%w), want %d", round, i, n, err, total)
						return
					}
				}
				counts <- nil
			}()
		}
		for range 2 {
			if err := <-counts; err != nil {
				t.Error(err)
			}
		}
		if l, err := two.Get(t.Context(), "700"); err != nil || l.MessageID != "message-700" {
			t.Errorf("get: %v, %v", l.MessageID, err)
		}
		if n, err := two.Delete(t.Context(), "700", "3", "nobody"); n != 2 || err != nil {
			t.Errorf("delete: %d, %v", n, err)
		}
		if n, err := one.Purge(t.Context()); n != total-2 || err != nil {
			t.Errorf("purge: %d, %v", n, err)
		}
	})
}

func TestStore_NothingToPurge(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	store := openStore(t, url, name(t, url, "nothing"), rabbitbus.TopologyConfig{}) // its queue is not there yet
	for range 2 {
		if n, err := store.Purge(t.Context()); n != 0 || err != nil {
			t.Errorf("%d, %v, want none", n, err)
		}
	}
}

// What the broker buried by itself is shown with its reason, and goes back to
// where it came from.
func TestStore_LettersOfTheBroker(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		url := brokers.RabbitMQ(t)
		exchange := name(t, url, "broker")
		topology.QueueArguments = amqp.Table{"x-message-ttl": 50}
		client := connect(t, url)
		sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: client, Topology: topology})
		if err := sub.SubscribeInitialize(exchange); err != nil {
			t.Fatal(err)
		}
		ch := raw(t, url)
		err := ch.Publish(exchange, "Some.Key", true, false, amqp.Publishing{
			MessageId: "m1", Headers: amqp.Table{"event_type": "Tested", "n": int32(7), "deep": amqp.Table{"x": []any{int64(1), true}}}, Body: []byte("body"),
		})
		if err != nil {
			t.Fatal(err)
		}
		store := openStore(t, url, exchange, topology)
		eventually(t, "it expires", func() bool { n, _ := store.Count(t.Context()); return n == 1 })
		l := letters(t, store, dlq.Query{})[0]
		if l.Reason != "expired" || l.Group != "g" || l.Source.Topic != exchange || l.MessageID != "m1" || string(l.Payload) != "body" || l.BuriedAt.IsZero() {
			t.Errorf("letter %+v", l)
		}
		if again := letters(t, store, dlq.Query{})[0]; again.ID != l.ID || l.ID == "" {
			t.Errorf("ids %q and %q, want one", l.ID, again.ID)
		}
		// Replayed to a queue that looks at what arrives.
		watch := exchange + ".other"
		if _, err := ch.QueueDeclare(watch, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := ch.QueueBind(watch, "Some.Key", exchange, false, nil); err != nil {
			t.Fatal(err)
		}
		queue, err := dlq.New(dlq.Config{Store: store, Publisher: newPublisher(t, rabbitbus.PublisherConfig{Client: client})})
		if err != nil {
			t.Fatal(err)
		}
		if err := queue.Replay(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
		d, ok, err := ch.Get(watch, true)
		if err != nil || !ok {
			t.Fatalf("nothing came back: %v", err)
		}
		if d.Headers["n"] != int32(7) || fmt.Sprint(d.Headers["deep"]) != "map[x:[1 true]]" || d.Headers["x-death"] != nil || d.Headers["_amqp"] != nil || d.RoutingKey != "Some.Key" {
			t.Errorf("replayed as %v with key %q, want its headers as they were", d.Headers, d.RoutingKey)
		}
		if d.Headers["dlq_replay_count"] != "1" || d.Headers["dlq_consumer_group"] != "g" {
			t.Errorf("replayed as %v, want it marked for its group", d.Headers)
		}
	})
}

// The other reasons for which a broker buries by itself, each replayed to where
// it came from.
func TestStore_LettersOfTheBroker_LengthAndLimit(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	full := amqp.Table{"x-max-length": 1, "x-overflow": "drop-head"}
	for _, c := range []struct {
		reason   dlq.Reason
		topology rabbitbus.TopologyConfig
	}{
		{"maxlen", rabbitbus.TopologyConfig{QueueType: rabbitbus.QueueClassic, QueueArguments: full}},
		{"maxlen", rabbitbus.TopologyConfig{QueueArguments: full}},
		{"rejected", rabbitbus.TopologyConfig{QueueType: rabbitbus.QueueClassic}},
		{"rejected", rabbitbus.TopologyConfig{}},
		{"delivery_limit", rabbitbus.TopologyConfig{DeliveryLimit: 2}},
	} {
		t.Run(string(c.topology.QueueType)+" "+string(c.reason), func(t *testing.T) {
			t.Parallel()
			exchange := name(t, url, "buries")
			client := connect(t, url)
			if err := newSubscriber(t, rabbitbus.SubscriberConfig{Client: client, Topology: c.topology}).SubscribeInitialize(exchange); err != nil {
				t.Fatal(err)
			}
			pub := newPublisher(t, rabbitbus.PublisherConfig{Client: client})
			ch := raw(t, url)
			publish(t, pub, exchange, msg("the one", "k"))
			get := func() amqp.Delivery {
				var d amqp.Delivery
				eventually(t, "it is in the queue", func() bool {
					var ok bool
					var err error
					if d, ok, err = ch.Get(exchange+".g", false); err != nil {
						t.Fatal(err)
					}
					return ok
				})
				return d
			}
			switch c.reason {
			case "maxlen":
				publish(t, pub, exchange, msg("its successor", "k"))
			case "rejected":
				if err := get().Reject(false); err != nil {
					t.Fatal(err)
				}
			default:
				for range c.topology.DeliveryLimit + 1 {
					if err := get().Nack(false, true); err != nil {
						t.Fatal(err)
					}
				}
			}
			store := openStore(t, url, exchange, c.topology)
			eventually(t, "it is buried", func() bool { n, err := store.Count(t.Context()); return err == nil && n == 1 })
			_ = letters(t, store, dlq.Query{}) // to look is to be delivered, which the letter must not show
			l := letters(t, store, dlq.Query{})[0]
			if l.Reason != c.reason || l.MessageID != "the one" || l.Group != "g" || l.Key != "k" || l.Source.Topic != exchange || l.Attempts != 0 {
				t.Errorf("letter %+v, want reason %s, and no attempts: nobody has counted them", l, c.reason)
			}
			if c.reason == "maxlen" {
				if _, err := ch.QueuePurge(exchange+".g", false); err != nil {
					t.Fatal(err)
				}
			}
			queue, err := dlq.New(dlq.Config{Store: store, Publisher: pub})
			if err != nil {
				t.Fatal(err)
			}
			if err := queue.Replay(t.Context(), l.ID); err != nil {
				t.Fatal(err)
			}
			if d := get(); d.MessageId != "the one" || d.RoutingKey != "Test.Tested" || d.Headers["x-death"] != nil {
				t.Errorf("replayed as %q by %q with %v", d.MessageId, d.RoutingKey, d.Headers)
			}
		})
	}
}

// A letter as the Python library writes it.
func TestStore_LettersOfThePythonLibrary(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "python")
	topology := rabbitbus.TopologyConfig{QueueType: rabbitbus.QueueClassic}
	store := openStore(t, url, exchange, topology)
	if n, err := store.Count(t.Context()); n != 0 || err != nil {
		t.Fatalf("count before anything: %d, %v", n, err)
	}
	ch := raw(t, url)
	err := ch.Publish(rabbitbus.DeadExchangeName(exchange), exchange+".g", true, false, amqp.Publishing{
		ContentType: "application/json", ContentEncoding: "utf-8", MessageId: "11111111-1111-4111-8111-111111111111", DeliveryMode: 2,
		Headers: amqp.Table{
			"event_type": "OrderCreated", "aggregate_type": "Order", "aggregate_id": "a1", "aggregate_version": int32(3), "x-retry-count": int32(3),
			"x-dlq-reason": "boom", "x-dlq-error-type": "ValueError", "x-dlq-retry-count": int32(3),
			"x-dlq-timestamp": "2026-01-02T03:04:05.678901+00:00", "x-original-routing-key": "Order.OrderCreated",
		},
		Body: []byte(`{"event_id":"11111111-1111-4111-8111-111111111111"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is there", func() bool { n, _ := store.Count(t.Context()); return n == 1 })
	l := letters(t, store, dlq.Query{})[0]
	if l.ErrorMessage != "boom" || l.ErrorType != "ValueError" || l.Attempts != 4 || l.Group != "g" || l.Source.Topic != exchange ||
		l.Key != "a1" || !l.BuriedAt.Equal(time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)) || l.Metadata["x-dlq-reason"] != "" {
		t.Errorf("letter %+v", l)
	}
}

func TestStore_QueueThatIsGoneIsMadeAgain(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "gone")
	store := openStore(t, url, exchange, rabbitbus.TopologyConfig{})
	if _, err := store.Bury(t.Context(), dlqtest.Letter(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := raw(t, url).QueueDelete(exchange+".g.dlq", false, false, false); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Bury(t.Context(), dlqtest.Letter(2)); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("count: %d, %v", n, err)
	}
}

func TestStore_AwayIsUnavailable(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	client := connect(t, url)
	store, err := rabbitbus.NewStore(rabbitbus.StoreConfig{
		Client: client, Publisher: newPublisher(t, rabbitbus.PublisherConfig{Client: client}), Exchange: name(t, url, "away"), ConsumerGroup: "g",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range store.List(t.Context(), dlq.Query{}) {
		if !errors.Is(err, dlq.ErrUnavailable) {
			t.Errorf("list: %v, want ErrUnavailable", err)
		}
	}
	if _, err := store.Count(t.Context()); !errors.Is(err, dlq.ErrUnavailable) {
		t.Errorf("count: %v, want ErrUnavailable", err)
	}
	if _, err := store.Bury(t.Context(), dlqtest.Letter(1)); !errors.Is(err, dlq.ErrUnavailable) {
		t.Errorf("bury: %v, want ErrUnavailable", err)
	}
}
