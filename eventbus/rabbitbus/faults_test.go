package rabbitbus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

func control(t testing.TB, broker *brokers.Instance, args ...string) {
	t.Helper()
	if _, err := broker.Rabbitmqctl(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// Each fault is made for real while 16 publishers and a consumer work; the
// oracle judges. Queues that are deleted lose what is in them, so there only
// what comes afterwards counts.
func testFaults(t *testing.T, broker *brokers.Instance) {
	t.Helper()
	through := func(fault func(t *testing.T, o *oracle, p *proxy.Proxy)) func(*testing.T, *oracle) {
		return func(t *testing.T, o *oracle) {
			t.Helper()
			fault(t, o, o.proxy)
		}
	}
	for _, f := range []struct {
		name  string
		kinds []rabbitbus.QueueType
		fault func(t *testing.T, o *oracle)
	}{
		{"connections cut, again and again", kinds, through(func(t *testing.T, o *oracle, p *proxy.Proxy) {
			t.Helper()
			for range 5 {
				p.Cut()
				o.Progress(50)
			}
		})},
		{"connections cut in the middle of an answer", kinds[:1], through(func(t *testing.T, o *oracle, p *proxy.Proxy) {
			t.Helper()
			for n := range int64(5) {
				p.CutAfter(proxy.ToClient, 1000+37*n)
				o.Progress(50)
			}
		})},
		{"connections stalled for a moment", kinds, through(func(t *testing.T, o *oracle, p *proxy.Proxy) {
			t.Helper()
			for _, d := range []proxy.Direction{proxy.ToClient, proxy.ToServer, proxy.Both} {
				p.Stall(d)
				<-time.After(300 * time.Millisecond)
				p.Flow(d)
				o.Progress(50)
			}
		})},
		{"connections half open, noticed by heartbeat", kinds, through(func(t *testing.T, o *oracle, p *proxy.Proxy) {
			t.Helper()
			p.HalfOpen()
			o.Progress(50)
			if o.sub.Stats().Reconnections == 0 || o.publishing.Stats().Reconnections == 0 {
				t.Errorf("%+v, %+v, want both to have noticed", o.sub.Stats(), o.publishing.Stats())
			}
		})},
		{"queue deleted under load", kinds, func(t *testing.T, o *oracle) {
			t.Helper()
			ch := raw(t, broker.URL())
			for range 3 {
				lost := o.sub.Stats().Reconnections
				if _, err := ch.QueueDelete(o.Topic+".g", false, false, false); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the queue is back", func() bool { return o.sub.Stats().Reconnections > lost })
				o.Excuse(o.Confirmed()) // what was in the queue is gone
				o.Progress(50)
			}
		}},
		{"all connections closed by an operator, again and again", kinds, func(t *testing.T, o *oracle) {
			t.Helper()
			for range 2 {
				control(t, broker, "close_all_connections", "a test")
				o.Progress(50)
			}
		}},
		{"broker stopped and started inside its node", kinds[1:], func(t *testing.T, _ *oracle) {
			t.Helper()
			control(t, broker, "stop_app")
			control(t, broker, "start_app")
		}},
		{"broker restarted", kinds[:1], func(t *testing.T, _ *oracle) {
			t.Helper()
			if err := broker.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"broker killed and started again", kinds, func(t *testing.T, _ *oracle) {
			t.Helper()
			if err := broker.Kill(); err != nil {
				t.Fatal(err)
			}
			<-time.After(500 * time.Millisecond) // long enough for many failed attempts
			if err := broker.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"broker frozen for a moment", kinds[:1], func(t *testing.T, _ *oracle) {
			t.Helper()
			if err := broker.Pause(); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
			if err := broker.Resume(); err != nil {
				t.Fatal(err)
			}
		}},
		{"memory alarm", kinds[1:], func(t *testing.T, o *oracle) {
			t.Helper()
			control(t, broker, "set_vm_memory_high_watermark", "0.00001")
			defer control(t, broker, "set_vm_memory_high_watermark", "0.4")
			eventually(t, "the publishers are blocked", func() bool { return o.publishing.Stats().Blocked != "" })
			blocked := func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				errs := o.pub.PublishBatch(ctx, o.Topic, []*message.Message{msg("0/0", "0")})
				var alarm *rabbitbus.BlockedError
				return len(errs) == 1 && errors.As(errs[0], &alarm) && errors.Is(errs[0], context.DeadlineExceeded) && !errors.Is(errs[0], rabbitbus.ErrUnknown)
			}
			eventually(t, "publishing ends at its deadline and says why", blocked)
		}},
		{"a handler slower than the broker's time-out for acknowledgements", kinds, func(t *testing.T, o *oracle) {
			t.Helper()
			control(t, broker, "eval", "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 500).")
			control(t, broker, "close_all_connections", "the settings are for new channels")
			o.Progress(50)
			lost := o.sub.Stats().Reconnections
			o.hold(func() bool { return o.sub.Stats().Reconnections > lost })
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			// Node starts take most of a minute on a busy machine: one kind each.
			for _, kind := range f.kinds {
				t.Run(string(kind), func(t *testing.T) {
					o := observe(t, broker.URL(), broker, rabbitbus.SubscriberConfig{Topology: rabbitbus.TopologyConfig{QueueType: kind}, PrefetchCount: 100})
					o.Progress(200)
					f.fault(t, o)
					o.Progress(200)
					o.judge()
				})
			}
		})
	}
}

func TestFaults_QueueDeletedWhileConsuming(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		url := brokers.RabbitMQ(t)
		topic := name(t, url, "deleted")
		topology.NoDefaultBinding = true
		sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url), Topology: topology})
		out := subscribe(t, sub, topic)
		if err := sub.Bind(t.Context(), topic, rabbitbus.Binding{RoutingKey: "Test.*"}); err != nil {
			t.Fatal(err)
		}
		pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)})
		publish(t, pub, topic, msg("before", "k"))
		next(t, out).Ack()
		ch := raw(t, url)
		for range 3 {
			if _, err := ch.QueueDelete(topic+".g", false, false, false); err != nil {
				t.Fatal(err)
			}
			// Unroutable until the queue and the binding of run time are back.
			eventually(t, "the queue is back", func() bool { return pub.Publish(topic, msg("after", "k")) == nil })
			m := next(t, out)
			if m.UUID != "after" {
				t.Fatalf("%q came, want no phantom", m.UUID)
			}
			m.Ack()
		}
		if n := sub.Stats().Reconnections; n != 3 {
			t.Errorf("%d reconnections counted, want 3", n)
		}
	})
}

// What a handler finished after its channel was lost does not run again here.
func TestFaults_FinishedAcrossALostConnectionIsNotRepeated(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		address := brokers.RabbitMQ(t)
		topic := name(t, address, "across")
		proxied, p := throughProxy(t, address)
		sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, proxied), Topology: topology, Concurrency: 2})
		out := subscribe(t, sub, topic)
		pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, address)})
		publish(t, pub, topic, msg("1", "a"), msg("2", "b"), msg("3", "b"))
		one, two := next(t, out), next(t, out)
		p.Cut()
		eventually(t, "it consumes again", func() bool { return sub.Stats().Reconnections == 1 })
		none(t, out, 100*time.Millisecond) // their keys are still taken
		one.Ack()
		two.Ack()
		m := next(t, out)
		if m.UUID != "3" {
			t.Errorf("%s came, want 3: the others are finished", m.UUID)
		}
		m.Ack()
		eventually(t, "all is acknowledged", func() bool {
			s := sub.Stats()
			return s.InFlight == 0 && s.Repeated == 2 && s.Voided == 2
		})
		if n := ready(t, raw(t, address), topic+".g"); n != 0 {
			t.Errorf("%d messages left, want none", n)
		}
	})
}

// An acknowledgement that was written, and did not arrive before the connection
// was lost, is remembered as well.
func TestFaults_AckThatIsLostRepeatsNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		address := brokers.RabbitMQ(t)
		topic := name(t, address, "acks")
		proxied, p := throughProxy(t, address)
		sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, proxied), Topology: topology, PrefetchCount: 20})
		out := subscribe(t, sub, topic)
		publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, address)}), topic, batch(30, "k")...)
		first := next(t, out)
		p.Stall(proxy.ToServer)
		first.Ack()
		for i := 1; i < 20; i++ {
			m := next(t, out)
			if m.UUID != fmt.Sprint(i) {
				t.Errorf("%s came, want %d", m.UUID, i)
			}
			m.Metadata["of"] = "a middleware" // what it was handled with is not what comes again
			m.Ack()
		}
		eventually(t, "all acks are written", func() bool { return sub.Stats().Acked == 20 })
		p.Cut()
		p.Flow(proxy.ToServer)
		for i := 20; i < 30; i++ {
			m := next(t, out)
			if m.UUID != fmt.Sprint(i) {
				t.Errorf("%s came, want %d", m.UUID, i)
			}
			m.Ack()
		}
		eventually(t, "nothing is in flight", func() bool { return sub.Stats().InFlight == 0 })
		if s := sub.Stats(); s.Repeated != 20 || s.Delivered != 30 {
			t.Errorf("%+v, want 20 acknowledged again without a handler", s)
		}
	})
}

func TestFaults_CutBetweenWriteAndConfirmIsUnknown(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	topic := name(t, address, "unknown")
	queue := queueOn(t, raw(t, address), topic, "#", nil)
	proxied, p := throughProxy(t, address)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, proxied)})
	publish(t, pub, topic, msg("before", "k"))
	p.Stall(proxy.ToClient)
	result := make(chan []error, 1)
	go func() { result <- pub.PublishBatch(t.Context(), topic, batch(3, "k")) }()
	ch := raw(t, address)
	eventually(t, "they arrived", func() bool { return ready(t, ch, queue) == 4 })
	p.Cut()
	p.Flow(proxy.ToClient)
	for i, err := range <-result {
		if !errors.Is(err, rabbitbus.ErrUnknown) {
			t.Errorf("message %d: %v, want ErrUnknown", i, err)
		}
	}
	publish(t, pub, topic, msg("after", "k")) // by itself
}

func TestFaults_AnswerThatNeverComesIsUnknownAtTheDeadline(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	topic := name(t, address, "silent")
	queueOn(t, raw(t, address), topic, "#", nil)
	proxied, p := throughProxy(t, address)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, proxied)})
	publish(t, pub, topic, msg("before", "k"))
	p.Stall(proxy.Both)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	errs := pub.PublishBatch(ctx, topic, batch(2, "k"))
	if len(errs) != 2 || !errors.Is(errs[0], rabbitbus.ErrUnknown) || !errors.Is(errs[1], context.DeadlineExceeded) {
		t.Errorf("%v, want ErrUnknown and DeadlineExceeded", errs)
	}
	impatient := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, address), ConfirmTimeout: 100 * time.Millisecond})
	publish(t, impatient, topic, msg("in time", "k"))
	away, q := throughProxy(t, address)
	impatient = newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, away), ConfirmTimeout: 100 * time.Millisecond})
	q.Stall(proxy.Both)
	if err := impatient.Publish(topic, msg("without a deadline", "k")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want DeadlineExceeded after ConfirmTimeout", err)
	}
	q.Flow(proxy.Both)
	p.Flow(proxy.Both)
	publish(t, pub, topic, msg("after", "k"))
}

func TestFaults_BrokerDownAtConnect(t *testing.T) {
	t.Parallel()
	began := time.Now()
	_, err := rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{URL: "amqp://user:canary@127.0.0.1:1/"})
	var failed *rabbitbus.ConnectError
	if !errors.As(err, &failed) || strings.Contains(err.Error(), "canary") || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v, want a ConnectError without the password", err, time.Since(began))
	}
}
