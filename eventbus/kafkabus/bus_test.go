package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
)

type Placed struct {
	eventbus.Base

	Note string `json:"note"`
}

func placed(id string) *Placed {
	return &Placed{Base: eventbus.NewBase(id), Note: id}
}

// openBus opens a bus on topics of the test's own.
func openBus(t testing.TB, cfg kafkabus.Config) *kafkabus.Bus {
	t.Helper()
	if cfg.Registry == nil {
		cfg.Registry = eventbus.NewRegistry()
		if err := eventbus.Register[Placed](cfg.Registry, "Placed", eventbus.AggregateType("Order")); err != nil {
			t.Fatal(err)
		}
	}
	if cfg.TopicPrefix == "" {
		cfg.TopicPrefix = name("bus")
	}
	bus, err := kafkabus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = bus.Shutdown(ctx)
	})
	return bus
}

// run consumes until the test ends.
func run(t testing.TB, bus *kafkabus.Bus) {
	t.Helper()
	var ran sync.WaitGroup
	ran.Go(func() {
		if err := bus.Run(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = bus.Shutdown(ctx)
		ran.Wait()
	})
}

func TestBus_TopicInfoAndLag(t *testing.T) {
	t.Parallel()
	client := shared(t)
	bus := openBus(t, kafkabus.Config{
		Client: client, ConsumerGroup: "g-" + name("info"), ConsumerName: "one", Topics: kafkabus.TopicConfig{Partitions: 4},
	})
	var events []eventbus.Event
	for i := range 40 {
		events = append(events, placed(fmt.Sprint("order-", i)))
	}
	if err := bus.Publish(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	info, err := bus.TopicInfo(t.Context())
	if err != nil || !info.Connected || !info.Exists || len(info.Partitions) != 4 || info.Lag != 40 || info.Members != 0 {
		t.Errorf("before the group: %+v, %v", info, err)
	}
	for _, p := range info.Partitions {
		if p.Committed != -1 || p.EndOffset != p.Lag || p.Replicas != 1 || p.InSync != 1 {
			t.Errorf("partition %+v", p)
		}
	}
	var handled sync.WaitGroup
	handled.Add(40)
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, Placed) error { handled.Done(); return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	handled.Wait()
	eventually(t, "all is committed", func() bool { n, err := bus.Lag(t.Context()); return n == 0 && err == nil })
	info, err = bus.TopicInfo(t.Context())
	if err != nil || info.GroupState != "Stable" || info.Members != 1 || info.Consumers[0] != "one" {
		t.Errorf("with a member: %+v, %v", info, err)
	}
}

func TestBus_TopicsAreCreatedAlike(t *testing.T) {
	t.Parallel()
	client := shared(t)
	prefix := name("create")
	openBus(t, kafkabus.Config{Client: client, TopicPrefix: prefix, Topics: kafkabus.TopicConfig{Partitions: 3}})
	topics, err := kadm.NewClient(client).ListTopics(t.Context(), prefix+".stream", prefix+".stream.dlq")
	if err != nil {
		t.Fatal(err)
	}
	for topic, detail := range topics {
		if len(detail.Partitions) != 3 {
			t.Errorf("%s has %d partitions, want 3", topic, len(detail.Partitions))
		}
	}
	// Again, with other wishes: what is there stays.
	openBus(t, kafkabus.Config{Client: client, TopicPrefix: prefix, Topics: kafkabus.TopicConfig{Partitions: 5}})
	// Without dead letters there is no topic for them.
	alone := name("alone")
	openBus(t, kafkabus.Config{Client: client, TopicPrefix: alone, DisableDLQ: true})
	topics, err = kadm.NewClient(client).ListTopics(t.Context(), alone+".stream.dlq")
	if err != nil || topics.Has(alone+".stream.dlq") && topics[alone+".stream.dlq"].Err == nil {
		t.Errorf("with DisableDLQ there is a topic: %v, %v", topics, err)
	}
}

func TestBus_MissingTopicThatMustNotBeCreated(t *testing.T) {
	t.Parallel()
	reg := eventbus.NewRegistry()
	prefix := name("missing")
	_, err := kafkabus.Open(t.Context(), kafkabus.Config{
		Client: shared(t), TopicPrefix: prefix, Registry: reg, Topics: kafkabus.TopicConfig{DisableCreation: true},
	})
	var missing *kafkabus.TopicError
	if !errors.As(err, &missing) || missing.Topic != prefix+".stream" || missing.Setting != "Topics.DisableCreation is set" {
		t.Errorf("open: %v, want a TopicError that names topic and setting", err)
	}
	newTopicNamed(t, prefix+".stream")
	_, err = kafkabus.Open(t.Context(), kafkabus.Config{
		Client: shared(t), TopicPrefix: prefix, Registry: reg, Topics: kafkabus.TopicConfig{DisableCreation: true},
	})
	if !errors.As(err, &missing) || missing.Topic != prefix+".stream.dlq" {
		t.Errorf("open without dead letters: %v, want a TopicError that names their topic", err)
	}
	_, err = kafkabus.Open(t.Context(), kafkabus.Config{
		Client: shared(t), TopicPrefix: name("replicas"), Registry: reg, Topics: kafkabus.TopicConfig{ReplicationFactor: 9},
	})
	if !errors.As(err, &missing) || missing.Setting != "Topics.ReplicationFactor" {
		t.Errorf("open with nine replicas on one broker: %v, want a TopicError that names the setting", err)
	}
}

func newTopicNamed(t testing.TB, topic string) {
	t.Helper()
	if _, err := kadm.NewClient(shared(t)).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

// Each way of confirming and of compressing works, both ways.
func TestBus_AcksAndCompressions(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "ways", 1, nil)
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: shared(t)})
	out := subscribe(t, sub, topic)
	for _, acks := range []kafkabus.Acks{kafkabus.AcksAll, kafkabus.AcksLeader, kafkabus.AcksNone} {
		for compression := kafkabus.Gzip; compression <= kafkabus.Zstd; compression++ {
			client := connect(t, kafkabus.ClientConfig{
				BootstrapServers: brokers.KafkaBrokers(t), Acks: acks, Compression: compression,
			})
			id := fmt.Sprint(acks, " ", compression)
			publish(t, newPublisher(t, kafkabus.PublisherConfig{Client: client}), topic, msg(id, "k"))
			m := next(t, out)
			if m.UUID != id {
				t.Errorf("%s came, want %s", m.UUID, id)
			}
			m.Ack()
		}
	}
}

func TestBus_StartOffset(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic := newTopic(t, "start", 1, nil)
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client})
	publish(t, pub, topic, msg("old", "k"))
	late := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, StartOffset: kafkabus.Latest})
	lateOut := subscribe(t, late, topic)
	early := newSubscriber(t, kafkabus.SubscriberConfig{Client: client})
	m := next(t, subscribe(t, early, topic))
	if m.UUID != "old" {
		t.Errorf("%s came to Earliest, want the history", m.UUID)
	}
	m.Ack()
	// Until it has its partition, and the end of it, nothing comes; then the new
	// ones alone.
	for i := 0; ; i++ {
		publish(t, pub, topic, msg(fmt.Sprint("new ", i), "k"))
		select {
		case m := <-lateOut:
			if m.UUID == "old" {
				t.Error("the history came to Latest")
			}
			m.Ack()
			return
		case <-time.After(50 * time.Millisecond):
			if i > 500 {
				t.Fatal("nothing came to Latest")
			}
		}
	}
}
