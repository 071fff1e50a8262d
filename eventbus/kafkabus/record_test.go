package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/middleware"
)

// newTopic makes a topic with settings of its own.
func newTopic(t testing.TB, kind string, partitions int32, settings map[string]string) string {
	t.Helper()
	topic := name(kind)
	configs := map[string]*string{}
	for k, v := range settings {
		configs[k] = &v
	}
	admin := kadm.NewClient(shared(t))
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
	// The broker says so before it knows.
	eventually(t, "the topic is there", func() bool {
		topics, err := admin.ListTopics(t.Context(), topic)
		return err == nil && topics.Error() == nil && len(topics[topic].Partitions) == int(partitions)
	})
	return topic
}

func produce(t testing.TB, client *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// Whatever other programs write is delivered or passed over; nothing stops the
// reading.
func TestRecord_OfOtherPrograms(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic := newTopic(t, "foreign", 1, nil)
	produce(t, client,
		&kgo.Record{Topic: topic, Value: []byte("no headers")},
		&kgo.Record{Topic: topic, Key: []byte("deleted")}, // a tombstone
		&kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("twice"), Headers: []kgo.RecordHeader{
			header("event_id", "dup"), header("event_type", "First"), header("event_type", "Last"),
		}},
		&kgo.Record{Topic: topic, Value: []byte{0xff, 0}, Headers: []kgo.RecordHeader{
			header("_watermill_message_uuid", "binary"), header("raw", "\x00\xff\r\n"), {Key: "null"},
		}},
		&kgo.Record{Topic: topic, Headers: []kgo.RecordHeader{header("_watermill_message_uuid", "empty")}},
		&kgo.Record{Topic: topic, Value: []byte("{}"), Headers: []kgo.RecordHeader{header("event_type", "Bare")}},
		&kgo.Record{Topic: topic, Value: []byte("end"), Headers: []kgo.RecordHeader{header("event_id", "end"), header("large", strings.Repeat("x", 500_000))}},
	)
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, topic)
	get := func(uuid, payload string) *message.Message {
		t.Helper()
		m := next(t, out)
		if m.UUID != uuid || string(m.Payload) != payload {
			t.Errorf("%q %q came, want %q %q", m.UUID, m.Payload, uuid, payload)
		}
		m.Ack()
		return m
	}
	m := get("0:0", "no headers")
	var malformed *kafkabus.MalformedError
	if err := middleware.DeliveryFrom(m.Context()).Malformed; !errors.As(err, &malformed) || malformed.Topic != topic || malformed.Offset != 0 {
		t.Errorf("a record without headers is not said to be malformed: %v", err)
	}
	if m := get("dup", "twice"); m.Metadata["event_type"] != "Last" {
		t.Errorf("of two headers %q counts, want the last", m.Metadata["event_type"])
	}
	if m := get("binary", "\xff\x00"); m.Metadata["raw"] != "\x00\xff\r\n" || m.Metadata["null"] != "" {
		t.Errorf("binary headers: %q", m.Metadata)
	}
	get("empty", "")
	get("0:5", "{}")
	if m := get("end", "end"); len(m.Metadata["large"]) != 500_000 {
		t.Errorf("the large header has %d bytes", len(m.Metadata["large"]))
	}
	if n := sub.Stats().Tombstones; n != 1 {
		t.Errorf("%d tombstones were counted, want 1", n)
	}
}

// Tombstones at the end are committed, too: the group has no lag for ever.
func TestRecord_TombstonesAloneAreCommitted(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := newTopic(t, "tombstones", 1, nil), name("g")
	for i := range 5 {
		produce(t, client, &kgo.Record{Topic: topic, Key: fmt.Append(nil, i)})
	}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group})
	subscribe(t, sub, topic)
	eventually(t, "they are passed over", func() bool { return committed(t, topic, group) == 5 })
}

// With ReadCommitted nothing of an aborted transaction is delivered, and what
// an open one has written waits; without it all is delivered.
func TestRecord_OfTransactions(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic := newTopic(t, "transactions", 1, nil)
	producer := connect(t, kafkabus.ClientConfig{
		BootstrapServers: brokers.KafkaBrokers(t), Options: []kgo.Opt{kgo.TransactionalID(name("tx"))},
	})
	write := func(id string, end kgo.TransactionEndTry) {
		t.Helper()
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, producer, &kgo.Record{Topic: topic, Value: []byte("{}"), Headers: []kgo.RecordHeader{header("event_id", id)}})
		if err := producer.EndTransaction(context.WithoutCancel(t.Context()), end); err != nil {
			t.Fatal(err)
		}
	}
	write("committed", kgo.TryCommit)
	write("aborted", kgo.TryAbort)
	write("end", kgo.TryCommit)
	group := name("g")
	for _, c := range []struct {
		readCommitted bool
		want          []string
	}{{true, []string{"committed", "end"}}, {false, []string{"committed", "aborted", "end"}}} {
		sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: fmt.Sprint(group, c.readCommitted), ReadCommitted: c.readCommitted})
		out := subscribe(t, sub, topic)
		for _, id := range c.want {
			m := next(t, out)
			if m.UUID != id {
				t.Errorf("ReadCommitted %t: %s came, want %s", c.readCommitted, m.UUID, id)
			}
			m.Ack()
		}
	}
}
