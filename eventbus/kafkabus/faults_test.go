package kafkabus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// Each fault is made for real while 16 publishers and a consumer work; the
// oracle judges.
func TestFaults_OfTheBroker(t *testing.T) { //nolint:tparallel // one broker: one fault after the other
	t.Parallel()
	broker := brokers.StartKafka(t, brokers.KafkaOptions{})
	for _, f := range []struct {
		name  string
		fault func(t *testing.T)
	}{
		{"restarted", func(t *testing.T) {
			t.Helper()
			if err := broker.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"killed and started again", func(t *testing.T) {
			t.Helper()
			if err := broker.Kill(); err != nil {
				t.Fatal(err)
			}
			<-time.After(500 * time.Millisecond) // long enough for many failed attempts
			if err := broker.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"frozen for longer than the session", func(t *testing.T) {
			t.Helper()
			if err := broker.Pause(); err != nil {
				t.Fatal(err)
			}
			<-time.After(shortSession + time.Second)
			if err := broker.Resume(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			o := observe(t, connect(t, kafkabus.ClientConfig{BootstrapServers: broker.URL()}), kafkabus.SubscriberConfig{})
			o.Progress(200)
			f.fault(t)
			o.Progress(200)
			o.judge()
		})
	}
}

// throughProxy returns a client whose connections all pass a proxy.
func throughProxy(t testing.TB, opts ...kgo.Opt) (*kgo.Client, *proxy.Proxy) {
	t.Helper()
	p, err := proxy.Start(brokers.KafkaBrokers(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return shared(t, append(opts, through(p))...), p
}

func TestFaults_OfTheNetwork(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name  string
		fault func(o *oracle, p *proxy.Proxy)
	}{
		{"connections cut, again and again", func(o *oracle, p *proxy.Proxy) {
			for range 3 {
				p.Cut()
				o.Progress(50)
			}
		}},
		{"an answer is cut in its middle", func(o *oracle, p *proxy.Proxy) {
			for range 3 {
				p.CutAfter(proxy.ToClient, 100)
				o.Progress(50)
			}
		}},
		{"silence for longer than the session", func(_ *oracle, p *proxy.Proxy) {
			p.Stall(proxy.Both)
			<-time.After(shortSession + 500*time.Millisecond)
			p.Flow(proxy.Both)
		}},
		{"half-open connections", func(_ *oracle, p *proxy.Proxy) { p.HalfOpen() }},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			// What is half-open is noticed by the overhead that the client grants a
			// request, ten seconds by default.
			client, p := throughProxy(t, kgo.RequestTimeoutOverhead(2*time.Second))
			// The request to join is waited for as long as the group may take.
			o := observe(t, client, kafkabus.SubscriberConfig{MaxPollInterval: 3 * time.Second})
			o.Progress(200)
			f.fault(o, p)
			o.Progress(200)
			o.judge()
		})
	}
}

func TestFaults_CutBetweenWriteAndConfirmDoublesNothing(t *testing.T) {
	t.Parallel()
	client, p := throughProxy(t)
	topic := name("cut")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("before", "k"))
	p.Stall(proxy.ToClient) // the brokers hear everything, their answers stay away
	result := make(chan []error, 1)
	go func() { result <- pub.PublishBatch(t.Context(), topic, batch(3)) }()
	end := func() int64 {
		ends, err := kadm.NewClient(shared(t)).ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		at, _ := ends.Lookup(topic, 0)
		return at.Offset
	}
	eventually(t, "they are in the log", func() bool { return end() == 4 })
	p.Cut()
	p.Flow(proxy.ToClient)
	if errs := <-result; errs != nil {
		t.Errorf("after the client has sent them again: %v, want them confirmed", errs)
	}
	if n := end(); n != 4 {
		t.Errorf("%d records in the log, want 4: what is sent again is not doubled", n)
	}
}

func TestFaults_TopicDeletedAndNotCreatable(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic := name("gone")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client})
	publish(t, pub, topic, msg("before", "k"))
	sure := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{DisableCreation: true}})
	publish(t, sure, topic, msg("known", "k"))
	if _, err := kadm.NewClient(client).DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	var missing *kafkabus.TopicError
	eventually(t, "Publish names topic and setting", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		errs := sure.PublishBatch(ctx, topic, []*message.Message{msg("after", "k")})
		return len(errs) == 1 && errors.As(errs[0], &missing)
	})
	if missing.Topic != topic {
		t.Errorf("%v, want it to name %q", missing, topic)
	}
}
