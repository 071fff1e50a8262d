package kafkabus_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// session is the session time-out of cases that ask for fast recovery.
const session = 2 * time.Second

// The conformance suite on a real Kafka, through a proxy for each bus, so that
// a consumer can vanish and the brokers can fall silent: with four partitions,
// and with one.
func TestConformance(t *testing.T) {
	plain, secure := brokers.KafkaBrokers(t), brokers.Shared(t, brokers.EnvKafkaSASLSSLBrokers)
	admin := shared(t)
	for _, c := range []struct {
		name       string
		partitions int
		given      bool
		lacks      eventbustest.Lacks
	}{
		{"kafkabus, 4 partitions", 4, true, eventbustest.Lacks{
			eventbustest.Synchronous: "Publish returns when Kafka has confirmed, not after the handlers",
			eventbustest.OneStream:   "each partition has its own order, and they are read side by side",
			eventbustest.Secrets:     "a client that is given holds the password; the next configuration has one",
		}},
		{"kafkabus, 1 partition", 1, false, eventbustest.Lacks{
			eventbustest.Synchronous:        "Publish returns when Kafka has confirmed, not after the handlers",
			eventbustest.Owned:              "opened with addresses, the bus is given nothing",
			eventbustest.CompetingConsumers: "one partition has one consumer at a time; the next one waits",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eventbustest.Run(t, eventbustest.Harness{
				Name:     c.name,
				Lacks:    c.lacks,
				Patience: time.Minute,
				Open: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
					t.Helper()
					if c.given {
						return openThroughProxy(t, plain, c.partitions, c.given, o)
					}
					return openThroughProxy(t, secure, c.partitions, c.given, o)
				},
				Inject: func(t testing.TB, topic string, m *message.Message) {
					t.Helper()
					publish(t, newPublisher(t, kafkabus.PublisherConfig{Client: admin}), topic+".stream", m)
				},
				InjectForeign: func(t testing.TB, topic string) {
					t.Helper()
					r := &kgo.Record{Topic: topic + ".stream", Value: []byte("temperature: 21")}
					if err := admin.ProduceSync(t.Context(), r).FirstErr(); err != nil {
						t.Fatal(err)
					}
				},
				RecoveryTime:     2 * session,
				Secrets:          []string{brokers.KafkaPassword},
				IgnoreGoroutines: []string{"twmb/franz-go", "integration/proxy"},
				Small:            raced || !c.given, // of full size once
			})
		})
	}
}

// through makes a client connect to a proxy, whatever address the brokers say.
func through(p *proxy.Proxy) kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, p.Addr())
	})
}

// throughTLS is through with TLS inside, which a dialer has to make itself.
func throughTLS(t testing.TB, p *proxy.Proxy) kgo.Opt {
	t.Helper()
	cfg, err := brokers.Certs(t).Client("")
	if err != nil {
		t.Fatal(err)
	}
	cfg.ServerName = "127.0.0.1"
	return kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, p.Addr())
		if err != nil {
			return nil, err
		}
		return tls.Client(conn, cfg), nil
	})
}

func openThroughProxy(t testing.TB, addr string, partitions int, given bool, o eventbustest.Options) (eventbustest.Instance, error) {
	t.Helper()
	p, err := proxy.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	cfg := kafkabus.Config{
		BootstrapServers: addr, TopicPrefix: o.Topic, ConsumerGroup: o.Group, ConsumerName: o.Consumer,
		Topics: kafkabus.TopicConfig{Partitions: partitions}, Options: []kgo.Opt{through(p)},
		Registry: o.Registry, Codec: o.Codec, Concurrency: o.Concurrency, Retry: o.Retry, HandlerTimeout: o.HandlerTimeout,
		Middleware: o.Middleware, HandlerMiddleware: o.HandlerMiddleware, MaxBackground: o.MaxBackground,
		MaxDeliveries: o.MaxDeliveries, MaxPayloadBytes: o.MaxPayloadBytes, MaxReplays: o.MaxReplays, DisableDLQ: o.DisableDLQ, DrainTimeout: o.DrainTimeout,
		TracerProvider: o.TracerProvider, Logger: o.Logger,
	}
	if o.FastRecovery {
		cfg.SessionTimeout, cfg.HeartbeatInterval = session, session/5
	}
	instance := eventbustest.Instance{
		Crash: func() { _ = p.Refuse(); p.Cut() },
		Stall: func() func() {
			p.Stall(proxy.ToServer)
			return func() { p.Flow(proxy.ToServer) }
		},
	}
	if given {
		client, err := kafkabus.OpenClient(t.Context(), kafkabus.ClientConfig{BootstrapServers: addr, Options: cfg.Options})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		cfg.Client, cfg.BootstrapServers, cfg.Options = client, "", nil
		instance.StillOpen = func() error { return client.Ping(t.Context()) }
	}
	if !given {
		cfg.Options = []kgo.Opt{throughTLS(t, p)}
		cfg.SASLMechanism = kafkabus.PLAIN // SCRAM's arithmetic takes long under the race detector
		cfg.SecurityProtocol, cfg.SASLUsername, cfg.SASLPassword = kafkabus.SASLPlaintext, brokers.KafkaUser, brokers.KafkaPassword
	}
	bus, err := kafkabus.Open(t.Context(), cfg)
	if err != nil {
		return eventbustest.Instance{}, err
	}
	instance.Bus = bus
	return instance, nil
}
