package rabbitbus_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/middleware"
)

var update = flag.Bool("update", false, "write golden files")

// golden compares with a file: a change of a byte is a breaking change.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", file, got, want)
	}
}

// What an event is on the wire, as another program sees it.
func TestWire_Golden(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "golden")
	ch := raw(t, url)
	queue := queueOn(t, ch, exchange, "#", nil)
	m := message.NewMessage("11111111-1111-4111-8111-111111111111", []byte(`{"note":"ü"}`))
	maps.Copy(m.Metadata, map[string]string{
		"event_id": m.UUID, "event_type": "OrderCreated", "event_version": "1", "aggregate_id": "22222222-2222-4222-8222-222222222222",
		"aggregate_type": "Order", "aggregate_version": "3", "occurred_at": "2026-01-02T03:04:05.678901+00:00",
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), exchange, m)
	d, ok, err := ch.Get(queue, true)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	got, err := json.MarshalIndent(map[string]any{
		"routing_key": d.RoutingKey, "content_type": d.ContentType, "content_encoding": d.ContentEncoding, "delivery_mode": d.DeliveryMode,
		"message_id": d.MessageId, "timestamp": d.Timestamp.UTC(), "type": d.Type, "app_id": d.AppId, "priority": d.Priority,
		"headers": d.Headers, "body": string(d.Body),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "event.golden", append(got, '\n'))
	for k, v := range d.Headers {
		if _, ok := v.(string); !ok {
			t.Errorf("header %s is %T, want text: the stock unmarshaler refuses others", k, v)
		}
	}
}

func TestWire_StockReadsOursAndWeReadStock(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "stock")
	queueOn(t, raw(t, url), exchange, "#", nil)
	config := amqp.NewDurablePubSubConfig(url, func(string) string { return exchange + ".g" })
	config.Exchange.GenerateName = func(string) string { return exchange }
	config.Exchange.Type = "topic"
	config.QueueBind.GenerateRoutingKey = func(string) string { return "#" }
	stockSub, err := amqp.NewSubscriber(config, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	ours := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)})
	m := msg("ours", "k")
	m.Metadata["unicode"] = "ü\n"
	publish(t, ours, exchange, m)
	ctx, cancel := context.WithCancel(context.Background())
	out, err := stockSub.Subscribe(ctx, exchange)
	if err != nil {
		t.Fatal(err)
	}
	got := next(t, out)
	if got.UUID != "ours" || !maps.Equal(got.Metadata, m.Metadata) || string(got.Payload) != string(m.Payload) {
		t.Errorf("stock read %q %v %s", got.UUID, got.Metadata, got.Payload)
	}
	got.Ack()
	cancel()
	if err := stockSub.Close(); err != nil {
		t.Fatal(err)
	}

	stockPub, err := amqp.NewPublisher(config, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	m = msg("theirs", "k")
	publish(t, stockPub, exchange, m)
	if err := stockPub.Close(); err != nil {
		t.Fatal(err)
	}
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url), Topology: rabbitbus.TopologyConfig{
		QueueType: rabbitbus.QueueClassic, DisableDLQ: true,
	}})
	rest := subscribe(t, sub, exchange)
	if got = next(t, rest); got.UUID == "ours" { // the stock adapter may close before its ack is out
		got.Ack()
		got = next(t, rest)
	}
	if got.UUID != "theirs" || string(got.Payload) != string(m.Payload) || middleware.DeliveryFrom(got.Context()).Key != "k" {
		t.Errorf("we read %q %v %s", got.UUID, got.Metadata, got.Payload)
	}
	delete(got.Metadata, rabbitbus.KeyAMQP) // the stock routing key
	if !maps.Equal(got.Metadata, m.Metadata) {
		t.Errorf("we read %v, want %v", got.Metadata, m.Metadata)
	}
	got.Ack()
}

// A queue as the Python library declares it, and its message, joined and read.
func TestWire_PythonLibrary(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "python")
	ch := raw(t, url)
	queueOn(t, ch, exchange, "#", amqp091.Table{"x-dead-letter-exchange": exchange + "_dlq", "x-dead-letter-routing-key": exchange + ".g"})
	err := ch.Publish(exchange, "Order.OrderCreated", true, false, amqp091.Publishing{
		ContentType: "application/json", ContentEncoding: "utf-8", MessageId: "11111111-1111-4111-8111-111111111111", DeliveryMode: 2,
		Timestamp: time.Unix(1767323045, 0),
		Headers: amqp091.Table{
			"aggregate_id": "22222222-2222-4222-8222-222222222222", "aggregate_type": "Order", "event_type": "OrderCreated",
			"aggregate_version": int32(3), "x-retry-count": int32(0), "tenant_id": "66666666-6666-4666-8666-666666666666",
		},
		Body: []byte(`{"event_id":"11111111-1111-4111-8111-111111111111"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := connect(t, url)
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: client, Topology: rabbitbus.TopologyConfig{QueueType: rabbitbus.QueueClassic}})
	out := subscribe(t, sub, exchange)
	m := next(t, out)
	d := middleware.DeliveryFrom(m.Context())
	if m.UUID != "11111111-1111-4111-8111-111111111111" || m.Metadata["aggregate_version"] != "3" || d.Key != "22222222-2222-4222-8222-222222222222" || d.Malformed != nil {
		t.Errorf("%q %v %+v", m.UUID, m.Metadata, d)
	}
	m.Ack()
	// Published again it is what it was.
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: client}), exchange, m.Copy())
	watched := next(t, out)
	if watched.Metadata["aggregate_version"] != "3" || watched.Metadata[rabbitbus.KeyAMQP] != m.Metadata[rabbitbus.KeyAMQP] {
		t.Errorf("again: %v, want %v", watched.Metadata, m.Metadata)
	}
	watched.Ack()
	if n := sub.Stats().Repeated; n != 0 {
		t.Errorf("%d taken for repeated", n)
	}
}

// Headers of every type are read, never stop a delivery, and are written back
// as they were.
func TestWire_HeadersOfEveryType(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "headers")
	ch := raw(t, url)
	queueOn(t, ch, exchange, "#", nil)
	at := time.Unix(1767323045, 0)
	headers := amqp091.Table{
		"event_type": "Tested", "nil": nil, "true": true, "int8": int8(-8), "uint8": uint8(200), "int16": int16(-16), "uint16": uint16(60000),
		"int32": int32(-32), "uint32": uint32(4_000_000_000), "int64": int64(-1 << 60), "float32": float32(1.5), "float64": 2.25,
		"decimal": amqp091.Decimal{Scale: 2, Value: 314}, "bytes": []byte{0xff, 0}, "time": at, "binary text": "\xff\x00",
		"array": []any{int32(1), "two", []any{false}}, "table": amqp091.Table{"deep": amqp091.Table{"x": int64(1)}},
	}
	if err := ch.Publish(exchange, "a.b.c", true, false, amqp091.Publishing{MessageId: "m", Headers: headers, Type: "t", AppId: "a", Priority: 3}); err != nil {
		t.Fatal(err)
	}
	client := connect(t, url)
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: client, Topology: rabbitbus.TopologyConfig{QueueType: rabbitbus.QueueClassic, DisableDLQ: true}})
	m := next(t, subscribe(t, sub, exchange))
	for k, want := range map[string]string{
		"nil": "", "true": "true", "int8": "-8", "uint8": "200", "uint32": "4000000000", "int64": "-1152921504606846976", "float32": "1.5",
		"decimal": "3.14", "time": at.UTC().Format(time.RFC3339), "array": `[1,"two",[false]]`, "table": `{"deep":{"x":1}}`, "bytes": "ff00",
	} {
		if got, ok := m.Metadata[k]; !ok || got != want {
			t.Errorf("%s reads %q, want %q", k, got, want)
		}
	}
	m.Ack()
	if _, err := sub.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: client}), exchange, m.Copy())
	d, ok, err := ch.Get(exchange+".g", true)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	delete(d.Headers, "_watermill_message_uuid")
	if fmt.Sprintf("%#v", d.Headers["table"]) != fmt.Sprintf("%#v", headers["table"]) || len(d.Headers) != len(headers) || d.RoutingKey != "a.b.c" ||
		d.Type != "t" || d.AppId != "a" || d.Priority != 3 {
		t.Errorf("written back as %#v, key %q, %q %q %d", d.Headers, d.RoutingKey, d.Type, d.AppId, d.Priority)
	}
	for k, want := range headers {
		if got := d.Headers[k]; fmt.Sprintf("%T %v", got, got) != fmt.Sprintf("%T %v", want, want) {
			t.Errorf("%s is written back as %T %v, want %T %v", k, got, got, want, want)
		}
	}
}

func TestRoutingKey_NamesCannotChangeRouting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ aggregate, event, want string }{
		{"Order", "OrderCreated", "Order.OrderCreated"},
		{"", "", ""},
		{"", "OrderCreated", ".OrderCreated"},
		{"a.b", "c", "a%2Eb.c"},
		{"*", "#", "%2A.%23"},
		{"a%2Eb", "c", "a%252Eb.c"},
	} {
		if got := rabbitbus.RoutingKey(c.aggregate, c.event); got != c.want {
			t.Errorf("RoutingKey(%q, %q) = %q, want %q", c.aggregate, c.event, got, c.want)
		}
	}
}
