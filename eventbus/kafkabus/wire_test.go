package kafkabus_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/middleware"
)

// A key goes to the partition that the Java client sends it to; see
// testdata/Partitions.java.
func TestWire_ChoosesPartitionsAsJavaDoes(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile(filepath.Join("testdata", "partitions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, client := fake(t) // any client that OpenClient makes
	partitioner := client.OptValue(kgo.RecordPartitioner).(kgo.Partitioner).ForTopic("t")
	keys := 0
	for line := range strings.Lines(string(table)) {
		text, rest, _ := strings.Cut(line, " ")
		key, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		var of4, of7, of12, of1000 int
		if _, err := fmt.Sscan(rest, &of4, &of7, &of12, &of1000); err != nil {
			t.Fatal(err)
		}
		for n, want := range map[int]int{4: of4, 7: of7, 12: of12, 1000: of1000} {
			if got := partitioner.Partition(&kgo.Record{Key: key}, n); got != want {
				t.Errorf("key %q goes to partition %d of %d, want %d", key, got, n, want)
			}
		}
		keys++
	}
	if keys != 235 {
		t.Errorf("%d keys were tried, want 235", keys)
	}
}

// captured reads records of a file in testdata.
func captured(t testing.TB, file, topic string) (list []*kgo.Record) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var records []struct {
		Key, Value string
		Headers    [][2]string
	}
	if err := json.Unmarshal(raw, &records); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		record := &kgo.Record{Topic: topic, Key: []byte(r.Key), Value: []byte(r.Value)}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, header(h[0], h[1]))
		}
		list = append(list, record)
	}
	return list
}

// Records as the Python library writes them, from the capture.
func TestWire_PythonRecordsAreRead(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic := name("python")
	if err := cluster.CreateTopic(topic, 4, nil); err != nil {
		t.Fatal(err)
	}
	records := captured(t, "python.json", topic)
	produce(t, client, records...)
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, topic)
	for _, r := range records {
		m := next(t, out)
		want := message.Metadata{}
		for _, h := range r.Headers {
			want[h.Key] = string(h.Value)
		}
		if m.UUID != want["event_id"] || !maps.Equal(m.Metadata, want) || !bytes.Equal(m.Payload, r.Value) {
			t.Errorf("%s %v %s came, want %v %s", m.UUID, m.Metadata, m.Payload, want, r.Value)
		}
		if d := middleware.DeliveryFrom(m.Context()); d.Key != want["aggregate_id"] || d.Partition != 1 || d.Malformed != nil {
			t.Errorf("delivery %+v; want the aggregate's key, and partition 1 as captured", d)
		}
		m.Ack()
	}
}

// wireOrder is the class of the captured events.
type wireOrder struct {
	eventbus.Base

	CustomerID uuid.UUID `json:"customer_id"`
	Amount     float64   `json:"amount"`
	Note       *string   `json:"note"`
}

// The captured events through the bus, and the same events written by it: the
// records are the capture's, but for leat's own two headers and traces.
func TestWire_TheBusReadsAndWritesWhatPythonDoes(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	reg := eventbus.NewRegistry()
	if err := eventbus.Register[wireOrder](reg, "OrderCreated", eventbus.AggregateType("Order")); err != nil {
		t.Fatal(err)
	}
	prefix := name("pywire")
	bus := openBus(t, kafkabus.Config{Client: client, TopicPrefix: prefix, Registry: reg, Topics: kafkabus.TopicConfig{Partitions: 4}, DisableTracing: true})
	records := captured(t, "python.json", prefix+".stream")
	produce(t, client, records...)
	events := make(chan wireOrder, 2)
	if _, err := eventbus.Subscribe(bus, "h", func(_ context.Context, e wireOrder) error { events <- e; return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	again := openBus(t, kafkabus.Config{
		Client: client, TopicPrefix: prefix + ".again", Registry: reg, Topics: kafkabus.TopicConfig{Partitions: 4}, DisableTracing: true,
	})
	for range records {
		e := <-events
		if err := again.Publish(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
	}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, prefix+".again.stream")
	for _, r := range records {
		m := next(t, out)
		delete(m.Metadata, "event_version")
		want := message.Metadata{}
		for _, h := range r.Headers {
			want[h.Key] = string(h.Value)
		}
		if !maps.Equal(m.Metadata, want) || !bytes.Equal(m.Payload, r.Value) {
			t.Errorf("written is\n%v %s\nwant\n%v %s", m.Metadata, m.Payload, want, r.Value)
		}
		m.Ack()
	}
	if cluster.TopicInfo(prefix+".stream.dlq") == nil {
		t.Error("the dead letters' topic was not created")
	}
}

func TestWire_PythonLettersAreListed(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic := name("pyletters")
	if err := cluster.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, client, append(captured(t, "python_dlq.json", topic), &kgo.Record{Topic: topic, Value: []byte("foreign")})...)
	store, err := kafkabus.NewStore(kafkabus.StoreConfig{Client: client, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	var got []dlq.Letter
	for l, err := range store.List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	if len(got) != 2 {
		t.Fatalf("%d letters, want 2", len(got))
	}
	want := dlq.Source{Topic: "wire.stream", Partition: 1, Offset: 42}
	if l := got[0]; l.MessageID != "11111111-1111-4111-8111-111111111111" || l.EventType() != "OrderCreated" || l.ID != "0:0" ||
		l.Key != "22222222-2222-4222-8222-222222222222" || l.Reason != dlq.ReasonMaxRetries || l.ErrorType != "ValueError" ||
		l.ErrorMessage != "no such customer" || l.Group != "g" || l.Source.Topic != want.Topic || l.Source.Partition != want.Partition ||
		l.Source.Offset != want.Offset || !l.BuriedAt.Equal(time.Date(2026, 1, 2, 3, 5, 5, 123456000, time.UTC)) {
		t.Errorf("Python's letter is read as %+v", l)
	}
	if l := got[1]; l.Reason != dlq.ReasonUndecodable || string(l.Payload) != "foreign" || l.ID != "0:1" {
		t.Errorf("the foreign record is read as %+v", l)
	}
}
