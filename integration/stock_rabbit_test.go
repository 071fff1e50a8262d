package integration_test

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// stockRabbit is a harness on the stock watermill-amqp adapter, with confirms,
// and a real RabbitMQ. Letters are published, and cannot be listed: the adapter
// has no reader that leaves them where they are.
func stockRabbit(t *testing.T) eventbustest.Harness {
	t.Helper()
	address := brokers.RabbitMQ(t)
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := parsed.User.Password()
	conn, err := amqp091.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	var arranged sync.Map // the end of these topics and queues
	return eventbustest.Harness{
		Name: "a bus on the stock watermill-amqp",
		Open: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
			t.Helper()
			// By the first instance, whose clean-up comes last: a consumer whose
			// queue is deleted makes up empty messages.
			queue := o.Topic + "_" + o.Group
			for what, forget := range map[string]func(*amqp091.Channel){
				o.Topic: func(ch *amqp091.Channel) {
					_, _ = ch.ExchangeDelete(o.Topic, false, false), ch.ExchangeDelete(o.Topic+".dlq", false, false)
				},
				queue: func(ch *amqp091.Channel) { _, _ = ch.QueueDelete(queue, false, false, false) },
			} {
				if _, again := arranged.LoadOrStore(what, true); !again {
					t.Cleanup(func() { onChannel(conn, forget) })
				}
			}
			return openStockRabbit(t, address, o)
		},
		Inject: func(t testing.TB, topic string, msg *message.Message) {
			t.Helper()
			pub, err := amqp.NewPublisher(stockRabbitConfig(address, ""), watermill.NopLogger{})
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
			ch, err := conn.Channel()
			if err != nil {
				t.Fatal(err)
			}
			defer ch.Close()
			err = ch.PublishWithContext(context.Background(), topic, "", false, false, amqp091.Publishing{
				Headers: amqp091.Table{"celsius": int32(21)}, Body: []byte("21"),
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		RecoveryTime: 300 * time.Millisecond,
		Patience:     time.Minute, // on a busy machine it takes seconds until a consumer is there
		Secrets:      []string{password, url.UserPassword("", password).String()[1:]},
		Small:        true,
		Lacks: eventbustest.Lacks{
			eventbustest.Synchronous:    "a broker stands between publisher and handlers",
			eventbustest.ParallelKeys:   "the adapter handles one message at a time, whatever its prefetch is",
			eventbustest.Concurrency:    "the adapter handles one message at a time, whatever its prefetch is",
			eventbustest.History:        "a queue gets what is published after it was declared",
			eventbustest.QuickShutdown:  "the adapter sleeps for 100 ms before it lets go of a subscription",
			eventbustest.ForeignEntries: "a header that is not text is nacked and delivered again, without end",
			eventbustest.DeliveryLimit:  "the adapter does not look at how often RabbitMQ has delivered a message",
			eventbustest.Letters:        "the adapter has no way to read a queue and leave it as it is",
		},
	}
}

func stockRabbitConfig(address, group string) amqp.Config {
	c := amqp.NewDurablePubSubConfig(address, amqp.GenerateQueueNameTopicNameWithSuffix(group))
	c.Publish.ConfirmDelivery = true
	return c
}

// onChannel does something on a channel of its own.
func onChannel(conn *amqp091.Connection, do func(*amqp091.Channel)) {
	ch, err := conn.Channel()
	if err != nil {
		return
	}
	defer ch.Close()
	do(ch)
}

func openStockRabbit(t testing.TB, address string, o eventbustest.Options) (eventbustest.Instance, error) {
	t.Helper()
	// Only a connection that breaks is what a crash is to the broker.
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.Start(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	u.Host = p.Addr()
	stock, err := amqp.NewSubscriber(stockRabbitConfig(u.String(), o.Group), watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := amqp.NewPublisher(stockRabbitConfig(address, o.Group), watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stock.SubscribeInitialize(o.Topic); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stock.Close(), publisher.Close() })
	pub := eventbustest.NewStallPublisher(publisher)
	cfg := eventbustest.Config(o)
	cfg.Publisher, cfg.Subscriber = pub, stock
	bus, err := eventbus.New(cfg)
	if err != nil {
		return eventbustest.Instance{}, err
	}
	return eventbustest.Instance{
		Bus: bus, Stall: pub.Stall,
		Crash:     func() { _ = p.Refuse(); p.Cut() },
		StillOpen: func() error { return publisher.Publish(o.Topic, message.NewMessage(watermill.NewUUID(), nil)) },
	}, nil
}

func TestStockRabbit_Conformance(t *testing.T) {
	h := stockRabbit(t)
	if raced {
		h.Lacks[eventbustest.CrashRecovery] = "when its connection breaks, the adapter has a data race (ConnectionWrapper.connected) that fails the test now and then"
	}
	eventbustest.Run(t, h)
}

// Each lack of the adapter is real. When one of these fails, the adapter was
// mended: take the entry out of the harness's Lacks.
func TestStockRabbit_LacksWhatItSays(t *testing.T) {
	h := stockRabbit(t)
	if raced {
		delete(h.Lacks, eventbustest.DeliveryLimit) // to show it takes connections that break: see above
	}
	eventbustest.ShowLacks(t, h, 3*time.Second)
}
