package telemetry_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
	"github.com/leat-go/leat/middleware"
)

// OrderPlaced is the events of the run.
type OrderPlaced struct {
	eventbus.Base
	Then string `json:"then"` // what the handler invoice does
}

const (
	thenFailOnce = "fail once"
	thenFail     = "fail"
	thenWait     = "wait"
)

func order(then string) *OrderPlaced {
	return &OrderPlaced{Base: eventbus.NewBase(eventbus.NewID()), Then: then}
}

func orders(n int) []eventbus.Event {
	events := make([]eventbus.Event, n)
	for i := range events {
		events[i] = order("")
	}
	return events
}

// known is one bus of the run, with everything that its handlers do.
type known struct {
	system  string
	bus     eventbus.AnyBus
	waits   chan struct{} // closed by release
	release func()        // lets the waiting handler go
	ran     chan error
}

// openAll opens a bus on each broker, with retries slow enough that several
// scrapes see them, and a proxy in front of Redis.
func openAll(t *testing.T, meters metric.MeterProvider) (all []*known, cut *proxy.Proxy) {
	t.Helper()
	redisURL, rabbitURL, kafkaBrokers := brokers.Redis(t), brokers.RabbitMQ(t), brokers.KafkaBrokers(t)
	registry := eventbus.NewRegistry()
	if err := eventbus.Register[OrderPlaced](registry, "OrderPlaced", eventbus.AggregateType("Order")); err != nil {
		t.Fatal(err)
	}
	name := "telemetry-" + strings.ToLower(rand.Text()[:8])
	retry := middleware.Retry{MaxRetries: 2, BaseDelay: time.Second, MaxDelay: time.Second}

	address, err := url.Parse(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	if cut, err = proxy.Start(address.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cut.Close(); err != nil {
			t.Error(err)
		}
	})
	address.Host = cut.Addr()
	redis, err := redisbus.Open(t.Context(), redisbus.Config{
		URL: address.String(), StreamPrefix: name, ConsumerGroup: "billing", Concurrency: 4,
		Registry: registry, Retry: retry, MeterProvider: meters,
	})
	if err != nil {
		t.Fatal(err)
	}
	rabbit, err := rabbitbus.Open(t.Context(), rabbitbus.Config{
		URL: rabbitURL, AllowPlaintextPassword: true, ExchangeName: name, ConsumerGroup: "billing", Concurrency: 4,
		Registry: registry, Retry: retry, MeterProvider: meters,
	})
	if err != nil {
		t.Fatal(err)
	}
	kafka, err := kafkabus.Open(t.Context(), kafkabus.Config{
		BootstrapServers: kafkaBrokers, TopicPrefix: name, ConsumerGroup: name + "-billing", Concurrency: 4,
		Registry: registry, Retry: retry, MeterProvider: meters,
	})
	if err != nil {
		t.Fatal(err)
	}
	for system, bus := range map[string]eventbus.AnyBus{redisbus.System: redis, rabbitbus.System: rabbit, kafkabus.System: kafka} {
		k := &known{system: system, bus: bus, waits: make(chan struct{}), ran: make(chan error, 1)}
		k.release = sync.OnceFunc(func() { close(k.waits) })
		all = append(all, k)
		t.Cleanup(func() {
			k.release()
			if _, err := k.bus.Shutdown(context.Background()); err != nil {
				t.Errorf("%s: %v", k.system, err)
			}
		})
		k.handle(t)
		go func() { k.ran <- k.bus.Run(context.Background()) }() // Shutdown ends it
		<-bus.Running()
	}
	return all, cut
}

func (k *known) handle(t *testing.T) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	_, err := eventbus.Subscribe(k.bus, "invoice", func(ctx context.Context, e OrderPlaced) error {
		mu.Lock()
		again := seen[e.EventID]
		seen[e.EventID] = true
		mu.Unlock()
		switch {
		case e.Then == thenFail, e.Then == thenFailOnce && !again:
			return errors.New("the printer is on fire")
		case e.Then == thenWait:
			select {
			case <-k.waits:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	audit := func(context.Context, eventbus.Event) error { return nil }
	if _, err := k.bus.SubscribeToAllEvents("audit", eventbus.HandlerFunc(audit)); err != nil {
		t.Fatal(err)
	}
}

func (k *known) publish(t *testing.T, events ...eventbus.Event) {
	t.Helper()
	if err := k.bus.Publish(t.Context(), events...); err != nil {
		t.Fatalf("%s: %v", k.system, err)
	}
}
