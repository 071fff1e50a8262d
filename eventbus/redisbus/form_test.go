package redisbus_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/middleware"
)

var update = flag.Bool("update", false, "write the golden files anew: a breaking change of the wire")

// full is a message with every metadata key of an event, and two of a user's.
func full() *message.Message {
	m := message.NewMessage("11111111-1111-4111-8111-111111111111", []byte(`{"event_id":"11111111-1111-4111-8111-111111111111","note":"ü"}`))
	maps.Copy(m.Metadata, map[string]string{
		"event_id": m.UUID, "event_type": "OrderCreated", "event_version": "1",
		"aggregate_id": "22222222-2222-4222-8222-222222222222", "aggregate_type": "Order", "aggregate_version": "3",
		"occurred_at": "2026-01-02T03:04:05.678901+00:00", "correlation_id": "44444444-4444-4444-8444-444444444444",
		"tenant_id": "66666666-6666-4666-8666-666666666666", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"zebra": "last", "empty": "",
	})
	return m
}

// fields reads the one entry of a stream as it is: names and values in order.
func fields(t *testing.T, client *redis.Client, stream string) []string {
	t.Helper()
	reply, err := client.Do(t.Context(), "XRANGE", stream, "-", "+").Slice()
	if err != nil || len(reply) != 1 {
		t.Fatalf("stream has %d entries, %v, want 1", len(reply), err)
	}
	var out []string
	for _, f := range reply[0].([]any)[1].([]any) {
		out = append(out, f.(string))
	}
	return out
}

func TestForm_GoldenFiles(t *testing.T) {
	client := shared(t)
	bare := message.NewMessage("bare", nil)
	for _, form := range []redisbus.Form{redisbus.FormWatermill, redisbus.FormText} {
		for what, m := range map[string]*message.Message{"full": full(), "bare": bare} {
			stream := name("golden")
			publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client, Form: form}), stream, m)
			var text strings.Builder
			for _, f := range fields(t, client, stream) {
				fmt.Fprintln(&text, strconv.QuoteToASCII(f))
			}
			path := filepath.Join("testdata", what+"."+form.String()+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if text.String() != string(want) {
				t.Errorf("%s: entry is\n%s\nwant\n%s", path, text.String(), want)
			}
		}
	}
}

// Entries as the Python library writes them, from the capture.
func TestForm_PythonEntriesAreRead(t *testing.T) {
	client := shared(t)
	stream := name("python")
	raw, err := os.ReadFile(filepath.Join("testdata", "python.json"))
	if err != nil {
		t.Fatal(err)
	}
	var entries [][]string
	if err := json.Unmarshal(raw, &entries); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: e})
	}
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client}), stream)

	first, second := func() (*message.Message, *message.Message) {
		a := next(t, out)
		a.Ack()
		b := next(t, out)
		b.Ack()
		return a, b
	}()

	if first.UUID != "11111111-1111-4111-8111-111111111111" || second.UUID != "11111111-1111-4111-8111-111111111112" {
		t.Errorf("UUIDs %s, %s, want the event ids", first.UUID, second.UUID)
	}
	want := message.Metadata{
		"event_id": "11111111-1111-4111-8111-111111111111", "event_type": "OrderCreated",
		"aggregate_id": "22222222-2222-4222-8222-222222222222", "aggregate_type": "Order",
		"tenant_id": "66666666-6666-4666-8666-666666666666", "occurred_at": "2026-01-02T03:04:05.678901+00:00",
	}
	if !maps.Equal(first.Metadata, want) {
		t.Errorf("metadata %v, want %v", first.Metadata, want)
	}
	if string(first.Payload) != entries[0][13] {
		t.Errorf("payload %s, want %s", first.Payload, entries[0][13])
	}
	if tenant, ok := second.Metadata["tenant_id"]; ok {
		t.Errorf("the empty tenant became %q, want it left out", tenant)
	}
	if d := middleware.DeliveryFrom(first.Context()); d == nil || d.Key != want["aggregate_id"] || d.Malformed != nil {
		t.Errorf("delivery %+v, want the aggregate id as key", d)
	}
}

// The stock adapter and this one on one stream, in one group, both writing.
func TestForm_StockAdapterBothWays(t *testing.T) {
	client := shared(t)
	for _, form := range []redisbus.Form{redisbus.FormWatermill, redisbus.FormText} {
		t.Run(form.String(), func(t *testing.T) {
			stream, group := name("stock"), name("group")
			stockClient := redis.NewClient(client.Options())
			stockPub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: stockClient}, nil)
			if err != nil {
				t.Fatal(err)
			}
			subClient := redis.NewClient(client.Options())
			stockSub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
				Client: subClient, ConsumerGroup: group, BlockTime: 20 * time.Millisecond, DisableIndefiniteInitialBlock: true,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = stockPub.Close(); _ = stockSub.Close() })
			ours := newSubscriber(t, redisbus.SubscriberConfig{Client: client, ConsumerGroup: group, BatchSize: 1, MaxInFlight: 1})
			pub := newPublisher(t, redisbus.PublisherConfig{Client: client, Form: form})

			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			defer cancel()
			fromStock, err := stockSub.Subscribe(ctx, stream)
			if err != nil {
				t.Fatal(err)
			}
			fromOurs := subscribe(t, ours, stream)
			const each = 50
			want := full()
			for i := range each {
				for who, p := range map[string]message.Publisher{"stock": stockPub, "ours": pub} {
					m := full()
					m.UUID = fmt.Sprintf("%s-%d", who, i)
					publish(t, p, stream, m)
				}
			}
			seen := map[string]int{}
			readBy := map[string]int{}
			for len(seen) < 2*each {
				var m *message.Message
				reader := "ours"
				select {
				case m = <-fromStock:
					reader = "stock"
				case m = <-fromOurs:
				case <-time.After(patience):
					t.Fatalf("%d of %d came", len(seen), 2*each)
				}
				seen[m.UUID]++
				readBy[reader]++
				if string(m.Payload) != string(want.Payload) {
					t.Errorf("%s read %s with payload %s", reader, m.UUID, m.Payload)
				}
				withMetadata := reader == "ours" || form == redisbus.FormWatermill || strings.HasPrefix(m.UUID, "stock")
				if withMetadata && !maps.Equal(m.Metadata, want.Metadata) {
					t.Errorf("%s read %s with metadata %v, want %v", reader, m.UUID, m.Metadata, want.Metadata)
				}
				m.Ack()
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%s came %d times, want once", id, n)
				}
			}
			if readBy["stock"] == 0 || readBy["ours"] == 0 {
				t.Errorf("read by %v, want both to have a share", readBy)
			}
			eventually(t, "nothing is pending", func() bool { return pendingOf(t, client, stream, group) == 0 })
		})
	}
}

// An entry in no known form is delivered as malformed, and the next one comes.
func TestForm_UnknownEntriesGoOnAsMalformed(t *testing.T) {
	client := shared(t)
	stream := name("foreign")
	add := func(values ...any) {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	add("temperature", "21", "raw", "\xff\x00")
	add("_watermill_message_uuid", "u", "metadata", "\xdf\xff\xff\xff\xff", "payload", "x")
	add("event_type", "NoPayload")
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("good", "k"))
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client}), stream)

	for i, payload := range []string{
		`{"raw":{"base64":"/wA="},"temperature":"21"}`,
		`{"_watermill_message_uuid":"u","metadata":{"base64":"3/////8="},"payload":"x"}`,
		`{"event_type":"NoPayload"}`,
	} {
		m := next(t, out)
		d := middleware.DeliveryFrom(m.Context())
		if d.Malformed == nil || m.UUID != d.ID || string(m.Payload) != payload {
			t.Errorf("entry %d: malformed %v, uuid %s, payload %s, want %s", i, d.Malformed, m.UUID, m.Payload, payload)
		}
		m.Ack()
	}
	m := next(t, out)
	if d := middleware.DeliveryFrom(m.Context()); m.UUID != "good" || d.Malformed != nil {
		t.Errorf("after them came %s, malformed %v, want good", m.UUID, d.Malformed)
	}
	m.Ack()
}

func TestForm_TextRefusesWhatItsReadersCannotRead(t *testing.T) {
	client := shared(t)
	stream := name("refuse")
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client, Form: redisbus.FormText})
	binary, reserved, key := msg("binary", ""), msg("reserved", ""), msg("key", "")
	binary.Payload = []byte{0xff}
	reserved.Metadata["metadata"] = "x"
	key.Metadata["k"] = "\xff"

	errs := pub.PublishBatch(t.Context(), stream, []*message.Message{msg("a", ""), binary, msg("b", ""), reserved, key})

	for i, wantErr := range []bool{false, true, false, true, true} {
		if (errs[i] != nil) != wantErr {
			t.Errorf("message %d: %v, want an error: %v", i, errs[i], wantErr)
		}
	}
	if n := client.XLen(t.Context(), stream).Val(); n != 2 {
		t.Errorf("stream has %d entries, want 2", n)
	}
}
