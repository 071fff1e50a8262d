package kafkabus_test

import (
	"errors"
	"hash/crc32"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/router"
)

// lenient closes without an error when a message was left unsettled, as the
// suite does on purpose: it wants the message's context to end then, which here
// is the end of the drain.
type lenient struct{ *kafkabus.Subscriber }

func (l lenient) Close() error {
	if err := l.Subscriber.Close(); !errors.Is(err, router.ErrDrainDeadline) {
		return err
	}
	return nil
}

// Watermill's own suite for every Pub/Sub.
func TestWatermillSuite(t *testing.T) {
	brokers.KafkaBrokers(t)
	run := name("suite")
	withGroup := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		t.Helper()
		client := shared(t)
		sub, err := kafkabus.NewSubscriber(kafkabus.SubscriberConfig{
			Client: client, ConsumerGroup: group, NackDelay: 10 * time.Millisecond, DrainTimeout: 500 * time.Millisecond,
			SessionTimeout: 3 * time.Second, HeartbeatInterval: 500 * time.Millisecond, RevokeTimeout: 500 * time.Millisecond,
			Topics: kafkabus.TopicConfig{Partitions: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sub.Close() }) // the suite forgets some
		return newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}}), lenient{sub}
	}
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:                      true,
		GuaranteedOrder:                     true,
		GuaranteedOrderWithSingleSubscriber: true,
		Persistent:                          true,
		ForceShort:                          raced,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		return withGroup(t, run+"."+strconv.Itoa(int(crc32.ChecksumIEEE([]byte(t.Name()))))) // each test goes on where it stopped
	}, withGroup)
}

// The stock adapter's default marshaler and ours read each other.
func TestStock_BothDirections(t *testing.T) {
	t.Parallel()
	addr := []string{brokers.KafkaBrokers(t)}
	client := shared(t)
	topic := name("stock")
	ours := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	stock, err := kafka.NewPublisher(kafka.PublisherConfig{Brokers: addr, Marshaler: kafka.DefaultMarshaler{}}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stock.Close() })
	m := msg("ours", "k")
	m.Metadata["own"] = "ü"
	publish(t, ours, topic, m)
	n := msg("stock", "k")
	n.Metadata["own"] = "ü"
	publish(t, stock, topic, n)

	sarama := kafka.DefaultSaramaSubscriberConfig()
	sarama.Consumer.Offsets.Initial = -2 // oldest
	reader, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: addr, Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: name("g"), OverwriteSaramaConfig: sarama,
	}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	theirs, err := reader.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client})
	for who, out := range map[string]<-chan *message.Message{"stock": theirs, "ours": subscribe(t, sub, topic)} {
		for _, want := range []*message.Message{m, n} {
			got := next(t, out)
			if !got.Equals(want) {
				t.Errorf("%s reads %s %v %q, want %s %v %q", who, got.UUID, got.Metadata, got.Payload, want.UUID, want.Metadata, want.Payload)
			}
			got.Ack()
		}
	}
}
