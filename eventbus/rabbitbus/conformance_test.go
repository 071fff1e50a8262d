package rabbitbus_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// The conformance suite on a real RabbitMQ, through a proxy for each bus, so
// that a consumer can vanish and a broker can fall silent: on quorum queues with
// a URL, and on classic queues with a connection that is given.
func TestConformance(t *testing.T) { // alone: it counts goroutines
	address := brokers.RabbitMQ(t)
	const history = "a queue gets what is published after it was declared; Open declares it"
	for _, c := range []struct {
		kind  rabbitbus.QueueType
		given bool
		lacks eventbustest.Lacks
	}{
		{rabbitbus.QueueQuorum, false, eventbustest.Lacks{
			eventbustest.Synchronous: "Publish returns when RabbitMQ has confirmed, not after the handlers",
			eventbustest.History:     history,
			eventbustest.Owned:       "opened with a URL, the bus is given nothing",
		}},
		{rabbitbus.QueueClassic, true, eventbustest.Lacks{
			eventbustest.Synchronous:   "Publish returns when RabbitMQ has confirmed, not after the handlers",
			eventbustest.History:       history,
			eventbustest.DeliveryLimit: "a classic queue counts no deliveries; choose a quorum queue",
		}},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			admin := raw(t, address)
			injector := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, address)})
			eventbustest.Run(t, eventbustest.Harness{
				Name:  "rabbitbus, " + string(c.kind),
				Lacks: c.lacks,
				Open: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
					t.Helper()
					return openThroughProxy(t, address, c.kind, c.given, o)
				},
				OpenUnreachable: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
					t.Helper()
					away, p := throughProxy(t, address)
					if err := p.Refuse(); err != nil {
						t.Fatal(err)
					}
					bus, err := rabbitbus.Open(t.Context(), rabbitbus.Config{URL: away, ExchangeName: o.Topic, Registry: o.Registry, Logger: o.Logger})
					if err != nil {
						return eventbustest.Instance{}, err
					}
					return eventbustest.Instance{Bus: bus}, nil
				},
				Inject: func(t testing.TB, topic string, m *message.Message) {
					t.Helper()
					publish(t, injector, topic, m)
				},
				InjectForeign: func(t testing.TB, topic string) {
					t.Helper()
					err := admin.PublishWithContext(t.Context(), topic, "weather.temperature", false, false, amqp.Publishing{
						Headers: amqp.Table{"celsius": int32(21), "tags": []any{"outside", nil}}, Body: []byte("21"),
					})
					if err != nil {
						t.Fatal(err)
					}
				},
				RecoveryTime: 300 * time.Millisecond,
				Secrets:      []string{brokers.RabbitPassword, url.UserPassword("", brokers.RabbitPassword).String()[1:]},
				Patience:     40 * time.Second,
				Small:        raced,
			})
		})
	}
}

// throughProxy returns the address of the broker as seen through a proxy.
func throughProxy(t testing.TB, address string) (string, *proxy.Proxy) {
	t.Helper()
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
	return u.String(), p
}

func openThroughProxy(t testing.TB, address string, kind rabbitbus.QueueType, given bool, o eventbustest.Options) (eventbustest.Instance, error) {
	t.Helper()
	t.Cleanup(func() { remove(t, address, o.Topic, o.Group) })
	proxied, p := throughProxy(t, address)
	cfg := rabbitbus.Config{
		URL: proxied, ExchangeName: o.Topic, ConsumerGroup: o.Group, ConsumerName: o.Consumer, QueueType: kind,
		Registry: o.Registry, Codec: o.Codec, Concurrency: o.Concurrency, Retry: o.Retry, HandlerTimeout: o.HandlerTimeout,
		Middleware: o.Middleware, HandlerMiddleware: o.HandlerMiddleware, MaxBackground: o.MaxBackground,
		MaxPayloadBytes: o.MaxPayloadBytes, MaxReplays: o.MaxReplays, DisableDLQ: o.DisableDLQ, DrainTimeout: o.DrainTimeout,
		TracerProvider: o.TracerProvider, Logger: o.Logger, MaxDeliveries: o.MaxDeliveries,
	}
	instance := eventbustest.Instance{
		Crash: func() { _ = p.Refuse(); p.Cut() },
		Stall: func() func() {
			p.Stall(proxy.ToServer)
			return func() { p.Flow(proxy.ToServer) }
		},
	}
	if given {
		conn, err := amqp.Dial(proxied)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		cfg.Connection, cfg.URL = conn, ""
		instance.StillOpen = func() error {
			ch, err := conn.Channel()
			if err != nil {
				return err
			}
			return ch.Close()
		}
	}
	bus, err := rabbitbus.Open(t.Context(), cfg)
	if err != nil {
		return eventbustest.Instance{}, err
	}
	instance.Bus = bus
	return instance, nil
}
