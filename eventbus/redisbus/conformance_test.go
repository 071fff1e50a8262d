package redisbus_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// recovery is the PendingIdleTime of cases that ask for a fast one.
const recovery = 700 * time.Millisecond

// The conformance suite on a real Redis, through a proxy for each bus, so that
// a consumer can vanish and a server can fall silent: with a client that is
// given, and with a URL and the text form.
func TestConformance(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	admin := connect(t, server.URL())
	for _, c := range []struct {
		name  string
		form  redisbus.Form
		given bool
		lacks eventbustest.Lacks
	}{
		{"redisbus", redisbus.FormWatermill, true, eventbustest.Lacks{
			eventbustest.Synchronous: "Publish returns when Redis has confirmed, not after the handlers",
		}},
		{"redisbus, by URL, text form", redisbus.FormText, false, eventbustest.Lacks{
			eventbustest.Synchronous: "Publish returns when Redis has confirmed, not after the handlers",
			eventbustest.Owned:       "opened with a URL, the bus is given nothing",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eventbustest.Run(t, eventbustest.Harness{
				Name:  c.name,
				Lacks: c.lacks,
				Open: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
					t.Helper()
					return openThroughProxy(t, server.Addr(), c.form, c.given, o)
				},
				Inject: func(t testing.TB, topic string, m *message.Message) {
					t.Helper()
					inject(t, admin, c.form, topic+":stream", m)
				},
				InjectForeign: func(t testing.TB, topic string) {
					t.Helper()
					if err := admin.XAdd(t.Context(), &redis.XAddArgs{Stream: topic + ":stream", Values: []string{"temperature", "21"}}).Err(); err != nil {
						t.Fatal(err)
					}
				},
				OpenUnreachable: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
					t.Helper()
					bus, err := redisbus.Open(t.Context(), busConfig("127.0.0.1:1", c.form, o))
					if err != nil {
						return eventbustest.Instance{}, err
					}
					return eventbustest.Instance{Bus: bus}, nil
				},
				RecoveryTime: 2 * recovery,
				Secrets:      []string{brokers.RedisPassword, url.UserPassword("", brokers.RedisPassword).String()[1:]},
			})
		})
	}
}

// inject writes a message as another program might: in the text form too with
// bytes that our publisher refuses to put there.
func inject(t testing.TB, admin *redis.Client, form redisbus.Form, stream string, m *message.Message) {
	t.Helper()
	if form == redisbus.FormWatermill {
		publish(t, newPublisher(t, redisbus.PublisherConfig{Client: admin}), stream, m)
		return
	}
	values := []any{"_watermill_message_uuid", m.UUID}
	for k, v := range m.Metadata {
		values = append(values, k, v)
	}
	if err := admin.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: append(values, "payload", []byte(m.Payload))}).Err(); err != nil {
		t.Fatal(err)
	}
}

func openThroughProxy(t testing.TB, addr string, form redisbus.Form, given bool, o eventbustest.Options) (eventbustest.Instance, error) {
	t.Helper()
	p, err := proxy.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	cfg := busConfig(p.Addr(), form, o)
	instance := eventbustest.Instance{
		Crash: func() { _ = p.Refuse(); p.Cut() },
		Stall: func() func() {
			p.Stall(proxy.ToServer)
			return func() { p.Flow(proxy.ToServer) }
		},
	}
	if given {
		client, err := redisbus.OpenClient(t.Context(), redisbus.ClientConfig{URL: cfg.URL})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		cfg.Client, cfg.URL = client, ""
		instance.StillOpen = func() error { return client.Ping(t.Context()).Err() }
	}
	bus, err := redisbus.Open(t.Context(), cfg)
	if err != nil {
		return eventbustest.Instance{}, err
	}
	instance.Bus = bus
	return instance, nil
}

func busConfig(addr string, form redisbus.Form, o eventbustest.Options) redisbus.Config {
	u := url.URL{Scheme: "redis", Host: addr, User: url.UserPassword(brokers.RedisUser, brokers.RedisPassword)}
	cfg := redisbus.Config{
		URL: u.String(), StreamPrefix: o.Topic, ConsumerGroup: o.Group, ConsumerName: o.Consumer, Form: form,
		Registry: o.Registry, Codec: o.Codec, Concurrency: o.Concurrency, Retry: o.Retry, HandlerTimeout: o.HandlerTimeout,
		Middleware: o.Middleware, HandlerMiddleware: o.HandlerMiddleware, MaxBackground: o.MaxBackground,
		MaxPayloadBytes: o.MaxPayloadBytes, MaxReplays: o.MaxReplays, DisableDLQ: o.DisableDLQ, DrainTimeout: o.DrainTimeout,
		MaxDeliveries: o.MaxDeliveries, TracerProvider: o.TracerProvider, Logger: o.Logger,
	}
	if o.FastRecovery {
		cfg.PendingIdleTime = recovery
	}
	return cfg
}
