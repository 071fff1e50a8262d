package telemetry_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/middleware"
)

// logbook is what an operator reads, and how many records it was made of.
type logbook struct {
	slog.Handler

	*written
}

type written struct {
	mu      sync.Mutex
	out     bytes.Buffer
	records int
}

func newLogbook() logbook {
	w := &written{}
	return logbook{slog.NewJSONHandler(&w.out, nil), w}
}

func (l logbook) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records++
	return l.Handler.Handle(ctx, r)
}

func (l logbook) WithAttrs(a []slog.Attr) slog.Handler {
	return logbook{l.Handler.WithAttrs(a), l.written}
}
func (l logbook) WithGroup(g string) slog.Handler { return logbook{l.Handler.WithGroup(g), l.written} }

func (l logbook) text() (out string, records int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String(), l.records
}

// about returns the lines that name the event, by their message.
func (l logbook) about(t *testing.T, event string) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	out, _ := l.text()
	for text := range strings.Lines(out) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in line %q", err, text)
		}
		if line["event_id"] == event {
			found[line["msg"].(string)] = line
		}
	}
	return found
}

// evil is what somebody who can publish may try.
const evil = "x\nlevel=ERROR msg=forged\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\n\x00\x1b[2J\u2028\" end="

// What is logged about an event that came through a broker says which handler,
// event and trace; and whatever it and the handler say, it is one line.
func TestLog_LinesOfAnEventOnEachBus(t *testing.T) {
	for _, system := range []string{"memory", "redis", "rabbitmq", "kafka"} {
		t.Run(system, func(t *testing.T) {
			log := newLogbook()
			bus, raw := openLogged(t, system, slog.New(log))
			if _, err := bus.SubscribeToAllEvents("send-invoice", eventbus.HandlerFunc(func(context.Context, eventbus.Event) error {
				return errors.New(evil)
			})); err != nil {
				t.Fatal(err)
			}
			ran := make(chan error, 1)
			go func() { ran <- bus.Run(context.Background()) }() // Shutdown ends it
			<-bus.Running()
			e := order(evil)
			if err := bus.Publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			events := 1
			if raw != nil {
				m := message.NewMessage(evil, []byte(evil)) // no JSON
				m.Metadata = message.Metadata{
					"event_type": "OrderPlaced", "aggregate_type": "Order", "aggregate_id": evil, "correlation_id": evil, "traceparent": evil,
				}
				raw(m)
				events++
			}
			await(t, "all are buried", func() (bool, string) {
				out, _ := log.text()
				return strings.Count(out, "message buried in dead letter queue") == events, out
			})
			if _, err := bus.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-ran; err != nil {
				t.Error(err)
			}
			wantFacts(t, log.about(t, e.EventID), e.EventID)
			wantNoForgery(t, log)
			if raw != nil && len(log.about(t, evil)) == 0 {
				t.Error("no line names the hostile event")
			}
		})
	}
}

func wantFacts(t *testing.T, lines map[string]map[string]any, id string) {
	t.Helper()
	retried, buried := lines["attempt failed, will retry"], lines["message buried in dead letter queue"]
	if len(lines) != 2 || retried["handler"] != "send-invoice" {
		t.Errorf("lines %v, want one for the retry of send-invoice and one for the letter", lines)
	}
	if handlers, _ := buried["handler"].([]any); len(handlers) != 1 || handlers[0] != "send-invoice" {
		t.Errorf("line %v, want the letter of send-invoice", buried)
	}
	for _, line := range lines {
		trace, _ := line["trace_id"].(string)
		if line["event_id"] != id || line["event_type"] != "OrderPlaced" || len(trace) != 32 || trace != buried["trace_id"] {
			t.Errorf("line %v, want event %s of type OrderPlaced and its one trace", line, id)
		}
	}
}

func wantNoForgery(t *testing.T, log logbook) {
	t.Helper()
	out, records := log.text()
	if n := strings.Count(out, "\n"); n != records {
		t.Errorf("%d lines for %d records:\n%s", n, records, out)
	}
	if !strings.Contains(out, "forged") {
		t.Errorf("the hostile texts are not in the log at all:\n%s", out)
	}
	if i := strings.IndexAny(out, "\r\x00\x1b\u2028"); i >= 0 {
		t.Errorf("a control character is in the log as it is: %q", out[max(0, i-50):i+1])
	}
}

// openLogged opens a bus, and returns beside it what publishes a message as it
// is, as a stranger may; nil: there are no strangers.
func openLogged(t *testing.T, system string, log *slog.Logger) (eventbus.AnyBus, func(*message.Message)) {
	t.Helper()
	registry := eventbus.NewRegistry()
	if err := eventbus.Register[OrderPlaced](registry, "OrderPlaced", eventbus.AggregateType("Order")); err != nil {
		t.Fatal(err)
	}
	name, spans := "telemetry-log-"+strings.ToLower(rand.Text()[:8]), sdktrace.NewTracerProvider()
	retry := middleware.Retry{MaxRetries: 1, BaseDelay: time.Millisecond}
	stranger := func(pub message.Publisher, err error, topic string) func(*message.Message) {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pub.Close() })
		return func(m *message.Message) {
			if err := pub.Publish(topic, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	var bus eventbus.AnyBus
	var raw func(*message.Message)
	var err error
	switch system {
	case "memory":
		bus, err = membus.New(membus.Config{Name: name, Registry: registry, Retry: retry, Logger: log, TracerProvider: spans})
	case "redis":
		url := brokers.Redis(t)
		client, err2 := redisbus.OpenClient(t.Context(), redisbus.ClientConfig{URL: url})
		if err2 != nil {
			t.Fatal(err2)
		}
		t.Cleanup(func() { _ = client.Close() })
		bus, err = redisbus.Open(t.Context(), redisbus.Config{URL: url, StreamPrefix: name, Registry: registry, Retry: retry, Logger: log, TracerProvider: spans})
		pub, err2 := redisbus.NewPublisher(redisbus.PublisherConfig{Client: client})
		raw = stranger(pub, err2, name+":stream")
	case "rabbitmq":
		url := brokers.RabbitMQ(t)
		client, err2 := rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{URL: url, AllowPlaintextPassword: true})
		if err2 != nil {
			t.Fatal(err2)
		}
		t.Cleanup(func() { _ = client.Close() })
		bus, err = rabbitbus.Open(t.Context(), rabbitbus.Config{
			URL: url, AllowPlaintextPassword: true, ExchangeName: name, ConsumerGroup: "billing",
			Registry: registry, Retry: retry, Logger: log, TracerProvider: spans,
		})
		pub, err2 := rabbitbus.NewPublisher(rabbitbus.PublisherConfig{Client: client})
		raw = stranger(pub, err2, name)
	case "kafka":
		servers := brokers.KafkaBrokers(t)
		client, err2 := kafkabus.OpenClient(t.Context(), kafkabus.ClientConfig{BootstrapServers: servers})
		if err2 != nil {
			t.Fatal(err2)
		}
		t.Cleanup(client.Close)
		bus, err = kafkabus.Open(t.Context(), kafkabus.Config{
			BootstrapServers: servers, TopicPrefix: name, ConsumerGroup: name, Registry: registry, Retry: retry, Logger: log, TracerProvider: spans,
		})
		pub, err2 := kafkabus.NewPublisher(kafkabus.PublisherConfig{Client: client})
		raw = stranger(pub, err2, name+".stream")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = bus.Shutdown(context.Background()) })
	return bus, raw
}
