package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// consume returns n records of a topic, as they are.
func consume(t testing.TB, topic string, n int) []*kgo.Record {
	t.Helper()
	client := connect(t, kafkabus.ClientConfig{BootstrapServers: brokers.KafkaBrokers(t), Options: []kgo.Opt{
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%d of %d records came: %v", len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func TestPublisher_WritesKeyAndHeadersInOrder(t *testing.T) {
	t.Parallel()
	topic := name("wire")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: shared(t), Topics: kafkabus.TopicConfig{Partitions: 4}})
	m := message.NewMessage("id-1", []byte("payload"))
	for _, k := range []string{
		"zz", "traceparent", "tenant_id", "occurred_at", "event_version", "event_type", "event_id", "correlation_id",
		"aggregate_version", "aggregate_type", "actor_id", "own",
	} {
		m.Metadata[k] = "v-" + k
	}
	m.Metadata["aggregate_id"] = "22222222-2222-4222-8222-222222222222"
	publish(t, pub, topic, m)

	r := consume(t, topic, 1)[0]
	var keys []string
	for _, h := range r.Headers {
		keys = append(keys, h.Key)
	}
	want := []string{
		"event_id", "event_type", "event_version", "aggregate_id", "aggregate_type", "aggregate_version", "occurred_at",
		"correlation_id", "tenant_id", "actor_id", "traceparent", "_watermill_message_uuid", "own", "zz",
	}
	if !slices.Equal(keys, want) {
		t.Errorf("headers are %v, want %v", keys, want)
	}
	if string(r.Key) != m.Metadata["aggregate_id"] || r.Partition != 1 || string(r.Value) != "payload" {
		t.Errorf("record has key %q, partition %d, value %q", r.Key, r.Partition, r.Value)
	}
}

// requests counts produce requests.
type requests struct{ produce atomic.Int64 }

func (r *requests) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == kmsg.Produce.Int16() {
		r.produce.Add(1)
	}
}

func TestPublisher_OneCallIsOneRequest(t *testing.T) {
	t.Parallel()
	count := &requests{}
	// A linger that nobody would wait for, were it waited for.
	client := connect(t, kafkabus.ClientConfig{
		BootstrapServers: brokers.KafkaBrokers(t), Linger: 2 * time.Second, Options: []kgo.Opt{kgo.WithHooks(count)},
	})
	topic := name("batch")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	publish(t, pub, topic, batch(1)...) // learns the topic
	before := count.produce.Load()
	publish(t, pub, topic, batch(100)...)
	// Of one broker there is one request; should the first partition be drained
	// while the last is filled, it may become two.
	if n := count.produce.Load() - before; n > 2 {
		t.Errorf("100 messages took %d produce requests", n)
	}
}

func batch(n int) []*message.Message {
	var list []*message.Message
	for i := range n {
		list = append(list, msg(fmt.Sprint("m", i), fmt.Sprint("k", i%16)))
	}
	return list
}

func TestPublisher_TellsTheOutcomeOfEachMessage(t *testing.T) {
	t.Parallel()
	topic := name("outcome")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: shared(t)})
	large := msg("large", "k")
	large.Payload = make([]byte, 2_000_000)
	reserved := msg("reserved", "k")
	reserved.Metadata["_watermill_message_uuid"] = "other"

	errs := pub.PublishBatch(t.Context(), topic, []*message.Message{msg("a", "k"), large, reserved, msg("b", "k")})
	if len(errs) != 4 || errs[0] != nil || errs[3] != nil {
		t.Fatalf("outcomes: %v", errs)
	}
	var refused *kafkabus.RefusedError
	if !errors.As(errs[1], &refused) || refused.Code != "MESSAGE_TOO_LARGE" || errors.Is(errs[1], kafkabus.ErrUnknown) {
		t.Errorf("too large: %v, want a RefusedError with MESSAGE_TOO_LARGE", errs[1])
	}
	if errs[2] == nil || errors.Is(errs[2], kafkabus.ErrUnknown) {
		t.Errorf("reserved metadata: %v, want it refused", errs[2])
	}
	records := consume(t, topic, 2)
	if len(records) != 2 || string(records[0].Headers[len(records[0].Headers)-1].Value) != "a" {
		t.Errorf("records in the topic: %d, want a and b", len(records))
	}
}

func TestPublisher_HonoursTheDeadlineWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	p, err := proxy.Start(brokers.KafkaBrokers(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	client := connect(t, kafkabus.ClientConfig{BootstrapServers: brokers.KafkaBrokers(t), Options: []kgo.Opt{through(p)}})
	topic := name("away")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client})
	publish(t, pub, topic, msg("before", "k"))

	p.Stall(proxy.ToServer)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	errs := pub.PublishBatch(ctx, topic, []*message.Message{msg("during", "k")})
	if len(errs) != 1 || !errors.Is(errs[0], kafkabus.ErrUnknown) || !errors.Is(errs[0], context.DeadlineExceeded) {
		t.Errorf("while the broker is silent: %v, want unknown, deadline exceeded", errs)
	}
	p.Flow(proxy.ToServer)
	publish(t, pub, topic, msg("after", "k"))
}

func TestPublisher_TopicThatMustNotBeCreated(t *testing.T) {
	t.Parallel()
	topic := name("absent")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: shared(t), Topics: kafkabus.TopicConfig{DisableCreation: true}})
	err := pub.Publish(topic, msg("a", "k"))
	var missing *kafkabus.TopicError
	if !errors.As(err, &missing) || missing.Topic != topic || missing.Setting == "" {
		t.Errorf("publish to a missing topic: %v, want a TopicError with topic and setting", err)
	}
}

func TestPublisher_ClosedRefuses(t *testing.T) {
	t.Parallel()
	client := shared(t)
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client})
	if err := errors.Join(pub.Close(), pub.Close()); err != nil {
		t.Error(err)
	}
	if err := pub.Publish("t", msg("a", "k")); !errors.Is(err, kafkabus.ErrClosed) {
		t.Errorf("publish after Close: %v, want ErrClosed", err)
	}
	if err := client.Ping(t.Context()); err != nil {
		t.Errorf("the client that was given: %v", err)
	}
}
