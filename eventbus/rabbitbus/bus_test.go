package rabbitbus_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

type orderCreated struct {
	eventbus.Base

	Amount int `json:"amount"`
}

type orderShipped struct{ eventbus.Base }

type userJoined struct{ eventbus.Base }

func registry(t testing.TB) *eventbus.Registry {
	t.Helper()
	reg := eventbus.NewRegistry()
	err := errors.Join(
		eventbus.Register[orderCreated](reg, "OrderCreated", eventbus.AggregateType("Order")),
		eventbus.Register[orderShipped](reg, "OrderShipped", eventbus.AggregateType("Order")),
		eventbus.Register[userJoined](reg, "UserJoined", eventbus.AggregateType("User")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// open opens a bus of group "g" with a recorder of all events, and runs it
// unless it is for publishing only.
func open(t testing.TB, cfg rabbitbus.Config) (*rabbitbus.Bus, *eventbustest.Recorder) {
	t.Helper()
	if cfg.Connection == nil {
		cfg.URL = orURL(t, cfg.URL)
	}
	if cfg.ConsumerGroup == "" {
		cfg.ConsumerGroup = "g"
	}
	cfg.Registry = registry(t)
	bus, err := rabbitbus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	recorder := &eventbustest.Recorder{}
	if _, err := bus.SubscribeToAllEvents("all", recorder); err != nil {
		t.Fatal(err)
	}
	var ran sync.WaitGroup
	if !cfg.PublishOnly {
		ran.Go(func() { _ = bus.Run(context.Background()) })
	}
	t.Cleanup(func() {
		if _, err := bus.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		ran.Wait()
	})
	if !cfg.PublishOnly {
		<-bus.Running()
	}
	return bus, recorder
}

func orURL(t testing.TB, url string) string {
	t.Helper()
	if url == "" {
		return brokers.RabbitMQ(t)
	}
	return url
}

func events() []eventbus.Event {
	return []eventbus.Event{
		&orderCreated{Base: eventbus.NewBase("o1"), Amount: 1}, &orderShipped{Base: eventbus.NewBase("o1")}, &userJoined{Base: eventbus.NewBase("u1")},
	}
}

// outcomes tells which events of one publish a queue took.
func outcomes(t testing.TB, bus *rabbitbus.Bus, events ...eventbus.Event) (taken []eventbus.Event) {
	t.Helper()
	err := bus.Publish(t.Context(), events...)
	if err == nil {
		return events
	}
	var failed *eventbus.PublishError
	if !errors.As(err, &failed) {
		t.Fatal(err)
	}
	for i, r := range failed.Results {
		var unroutable *rabbitbus.UnroutableError
		switch {
		case r.Err == nil:
			taken = append(taken, events[i])
		case !errors.As(r.Err, &unroutable) || r.Outcome != eventbus.Refused:
			t.Fatalf("%s: %v, want it unroutable", r.EventType, r.Err)
		}
	}
	return taken
}

func TestBus_ExchangeTypesAndBindings(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	for _, c := range []struct {
		name string
		cfg  rabbitbus.Config
		want []int // of events
	}{
		{"topic by default", rabbitbus.Config{}, []int{0, 1, 2}},
		{"topic, one aggregate", rabbitbus.Config{RoutingKeyPattern: "Order.*"}, []int{0, 1}},
		{"topic, one type of any aggregate", rabbitbus.Config{RoutingKeyPattern: "*.UserJoined"}, []int{2}},
		{"topic, nothing", rabbitbus.Config{NoDefaultBinding: true}, nil},
		{"direct by default", rabbitbus.Config{ExchangeType: rabbitbus.ExchangeDirect}, []int{0, 1, 2}},
		{"direct, one key", rabbitbus.Config{ExchangeType: rabbitbus.ExchangeDirect, RoutingKeyPattern: "Order.OrderShipped"}, []int{1}},
		{"fanout", rabbitbus.Config{ExchangeType: rabbitbus.ExchangeFanout}, []int{0, 1, 2}},
		{"headers by default", rabbitbus.Config{ExchangeType: rabbitbus.ExchangeHeaders}, []int{0, 1, 2}},
		{"headers, all of them", rabbitbus.Config{ExchangeType: rabbitbus.ExchangeHeaders, Bindings: []rabbitbus.Binding{
			{Arguments: amqp.Table{"x-match": "all", "aggregate_type": "Order", "event_type": "OrderShipped"}},
		}}, []int{1}},
		{"headers, any of them", rabbitbus.Config{ExchangeType: rabbitbus.ExchangeHeaders, Bindings: []rabbitbus.Binding{
			{Arguments: amqp.Table{"x-match": "any", "aggregate_id": "u1", "event_type": "OrderShipped"}},
		}}, []int{1, 2}},
		{"transient and auto-deleted", rabbitbus.Config{Transient: true, AutoDelete: true}, []int{0, 1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.cfg.ExchangeName = name(t, url, "types")
			bus, recorder := open(t, c.cfg)
			published := events()
			var want []eventbus.Event
			for _, i := range c.want {
				want = append(want, published[i])
			}
			if taken := outcomes(t, bus, published...); len(taken) != len(want) {
				t.Errorf("%d events were taken, want %d", len(taken), len(want))
			}
			if len(want) > 0 {
				recorder.Wait(t, len(want))
			}
			recorder.WantAnyOrder(t, want...)
		})
	}
}

func TestBus_BindingsAtRunTime(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	for _, kind := range []rabbitbus.ExchangeType{rabbitbus.ExchangeTopic, rabbitbus.ExchangeDirect, rabbitbus.ExchangeHeaders} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			proxied, p := throughProxy(t, address)
			bus, recorder := open(t, rabbitbus.Config{URL: proxied, ExchangeName: name(t, address, "bind"), ExchangeType: kind, NoDefaultBinding: true})
			shipped := eventbus.TypeFor[orderShipped]()
			if taken := outcomes(t, bus, events()...); len(taken) != 0 {
				t.Fatalf("%d events were taken before anything was bound", len(taken))
			}
			if err := bus.BindEventType(t.Context(), shipped); err != nil {
				t.Fatal(err)
			}
			if taken := outcomes(t, bus, events()...); len(taken) != 1 {
				t.Fatalf("%d events were taken, want one", len(taken))
			}
			recorder.Wait(t, 1)
			// The queue goes, the connection goes: the binding is restored.
			if _, err := raw(t, address).QueueDelete(bus.Topic()+".g", false, false, false); err != nil {
				t.Fatal(err)
			}
			p.Cut()
			eventually(t, "the queue and its binding are back", func() bool {
				return bus.Publish(t.Context(), &orderShipped{Base: eventbus.NewBase("o2")}) == nil
			})
			recorder.Wait(t, 2)
			if err := bus.UnbindEventType(t.Context(), shipped); err != nil {
				t.Fatal(err)
			}
			if taken := outcomes(t, bus, events()...); len(taken) != 0 {
				t.Errorf("%d events were taken after unbinding", len(taken))
			}
			if kind != rabbitbus.ExchangeHeaders {
				if err := bus.BindRoutingKey(t.Context(), "User.UserJoined"); err != nil {
					t.Fatal(err)
				}
				if taken := outcomes(t, bus, events()...); len(taken) != 1 {
					t.Errorf("%d events were taken, want one", len(taken))
				}
				if err := bus.UnbindRoutingKey(t.Context(), "User.UserJoined"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestBus_WorkQueueOnADirectExchange(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "work")
	cfg := rabbitbus.Config{ExchangeName: exchange, ExchangeType: rabbitbus.ExchangeDirect, PrefetchCount: 1}
	one, first := open(t, cfg)
	_, second := open(t, cfg)
	const total = 60
	for n := range total {
		if err := one.Publish(t.Context(), &orderCreated{Base: eventbus.NewBase("o"), Amount: n}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are handled", func() bool { return first.Len()+second.Len() == total })
	if first.Len() == 0 || second.Len() == 0 {
		t.Errorf("shares %d and %d, want both some", first.Len(), second.Len())
	}
}

func TestBus_PublishOnlyDeclaresNoQueue(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "only")
	bus, _ := open(t, rabbitbus.Config{ExchangeName: exchange, PublishOnly: true})
	if taken := outcomes(t, bus, events()...); len(taken) != 0 {
		t.Errorf("%d events were taken although there is no queue", len(taken))
	}
	ch := raw(t, url)
	if err := ch.ExchangeDeclarePassive(exchange, "topic", true, false, false, false, nil); err != nil {
		t.Errorf("the exchange: %v", err)
	}
	if _, err := ch.QueueDeclarePassive(exchange+".g", true, false, false, false, nil); err == nil {
		t.Error("a queue was declared")
	}
	if err := bus.Run(t.Context()); !errors.Is(err, eventbus.ErrNoSubscriber) {
		t.Errorf("run: %v, want ErrNoSubscriber", err)
	}
	if err := bus.BindRoutingKey(t.Context(), "#"); !errors.Is(err, rabbitbus.ErrPublishOnly) {
		t.Errorf("bind: %v, want ErrPublishOnly", err)
	}
}

func TestBus_QueueInfoAtThisMoment(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "info")
	bus, err := rabbitbus.Open(t.Context(), rabbitbus.Config{URL: url, ExchangeName: exchange, ConsumerGroup: "g", Registry: registry(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = bus.Shutdown(context.Background()) })
	if err := bus.Publish(t.Context(), events()...); err != nil {
		t.Fatal(err)
	}
	info, err := bus.QueueInfo(t.Context())
	if want := (rabbitbus.QueueInfo{Name: exchange + ".g", State: rabbitbus.QueueRunning, Messages: 3}); err != nil || info != want {
		t.Errorf("%+v, %v, want %+v", info, err, want)
	}
	if _, err := raw(t, url).QueueDelete(exchange+".g", false, false, false); err != nil {
		t.Fatal(err)
	}
	if info, err = bus.QueueInfo(t.Context()); err != nil || info.State != rabbitbus.QueueMissing {
		t.Errorf("%+v, %v, want it missing", info, err)
	}
}

// A publisher that the broker blocks must not stop consumers, nor a lost
// connection a bus.
func TestBus_ReconnectsAndCountsIt(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	proxied, p := throughProxy(t, address)
	bus, recorder := open(t, rabbitbus.Config{URL: proxied, ExchangeName: name(t, address, "again")})
	if err := bus.Publish(t.Context(), events()...); err != nil {
		t.Fatal(err)
	}
	recorder.Wait(t, 3)
	p.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	eventually(t, "it publishes again", func() bool { return bus.Publish(ctx, events()...) == nil })
	eventually(t, "it consumes again", func() bool { return recorder.Len() >= 6 })
	if s := bus.Stats(); s.Reconnections != 2 {
		t.Errorf("%d reconnections, want one for each connection", s.Reconnections)
	}
	bus.ResetStats()
	if s := bus.Stats(); s.Reconnections != 0 || s.EventsPublished != 0 {
		t.Errorf("after a reset: %+v", s)
	}
	if p.Connections() != 2 {
		t.Errorf("%d connections, want two", p.Connections())
	}
}
