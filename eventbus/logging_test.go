package eventbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// logged is a bus whose lines at level info are kept, and counted beside.
type logged struct {
	*eventbus.Bus
	out     bytes.Buffer
	records atomic.Int64
	channel *gochannel.GoChannel
}

// counting counts the records on their way to a handler.
type counting struct {
	slog.Handler
	n *atomic.Int64
}

func (c counting) Handle(ctx context.Context, r slog.Record) error {
	c.n.Add(1)
	return c.Handler.Handle(ctx, r)
}
func (c counting) WithAttrs(a []slog.Attr) slog.Handler { return counting{c.Handler.WithAttrs(a), c.n} }
func (c counting) WithGroup(g string) slog.Handler      { return counting{c.Handler.WithGroup(g), c.n} }

func newLogged(t *testing.T, handler func(*bytes.Buffer) slog.Handler) *logged {
	t.Helper()
	l := &logged{channel: gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})}
	registry := eventbus.NewRegistry()
	if err := eventbus.Register[orderPlaced](registry, "OrderPlaced"); err != nil {
		t.Fatal(err)
	}
	spans := sdktrace.NewTracerProvider()
	var err error
	l.Bus, err = eventbus.New(eventbus.Config{
		Publisher: l.channel, Subscriber: l.channel, Registry: registry, Topic: "orders", Group: "billing", TracerProvider: spans,
		Retry:  middleware.Retry{MaxRetries: 1, BaseDelay: time.Millisecond},
		Logger: slog.New(counting{handler(&l.out), &l.records}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run consumes while do does something.
func (l *logged) run(t *testing.T, do func()) {
	t.Helper()
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }() // Shutdown ends it
	<-l.Running()
	do()
	if _, err := l.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := l.channel.Close(); err != nil {
		t.Error(err)
	}
}

// lines are the JSON objects of the log.
func (l *logged) lines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	for text := range strings.Lines(l.out.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in line %q", err, text)
		}
		lines = append(lines, line)
	}
	return lines
}

type orderPlaced struct{ eventbus.Base }

func toJSON(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) }

func TestLogging_NoLineForAnEventThatIsHandled(t *testing.T) {
	l := newLogged(t, toJSON)
	handled := 0
	if _, err := eventbus.Subscribe(l, "send-invoice", func(context.Context, orderPlaced) error { handled++; return nil }); err != nil {
		t.Fatal(err)
	}
	l.run(t, func() {
		for range 100 {
			if err := l.Publish(t.Context(), &orderPlaced{eventbus.NewBase("k")}); err != nil {
				t.Fatal(err)
			}
		}
	})
	var told []string
	for _, line := range l.lines(t) {
		told = append(told, line["msg"].(string))
	}
	slices.Sort(told) // the first two come from two goroutines
	want := "bus consumes, bus shut down, drain ended, drain started, router running"
	if got := strings.Join(told, ", "); handled != 100 || got != want {
		t.Errorf("%d events handled, the lines are %q, want 100 and %q", handled, got, want)
	}
}

func TestLogging_LinesOfAnEventSayWhichHandlerEventAndTrace(t *testing.T) {
	l := newLogged(t, toJSON)
	if _, err := eventbus.Subscribe(l, "send-invoice", func(context.Context, orderPlaced) error { return errors.New("on fire") }); err != nil {
		t.Fatal(err)
	}
	e := &orderPlaced{eventbus.NewBase("k")}
	l.run(t, func() {
		if err := l.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	})
	trace := regexp.MustCompile("^[0-9a-f]{32}$")
	found := map[string]map[string]any{}
	for _, line := range l.lines(t) {
		if line["event_id"] == nil {
			continue
		}
		found[line["msg"].(string)] = line
		id, _ := line["trace_id"].(string)
		if line["event_id"] != e.EventID || line["event_type"] != "OrderPlaced" || !trace.MatchString(id) {
			t.Errorf("line %v: want event %s of type OrderPlaced and its trace", line, e.EventID)
		}
	}
	retried, buried := found["attempt failed, will retry"], found["message buried in dead letter queue"]
	if len(found) != 2 || retried["handler"] != "send-invoice" || retried["attempt"] != 1.0 {
		t.Errorf("lines %v, want one for the retry of send-invoice and one for the letter", found)
	}
	if handlers, _ := buried["handler"].([]any); len(handlers) != 1 || handlers[0] != "send-invoice" || buried["attempts"] != 2.0 {
		t.Errorf("line %v, want the letter of send-invoice after 2 attempts", buried)
	}
	if retried["trace_id"] != buried["trace_id"] {
		t.Errorf("traces %v and %v of one delivery", retried["trace_id"], buried["trace_id"])
	}
}

// What an event, or an error, says can neither end a line nor forge one.
func TestLogging_EventsCannotForgeLines(t *testing.T) {
	const evil = "x\nlevel=ERROR msg=forged\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\n\x00\x1b[2J\u2028\" end="
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": toJSON,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogged(t, handler)
			if _, err := l.SubscribeToAllEvents("audit", eventbus.HandlerFunc(func(context.Context, eventbus.Event) error {
				return errors.New(evil)
			})); err != nil {
				t.Fatal(err)
			}
			letters, err := l.channel.Subscribe(t.Context(), "orders.dlq")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for m := range letters {
					m.Ack()
				}
			}()
			l.run(t, func() {
				for _, eventType := range []string{"OrderPlaced", "OrderPlaced" + evil, ""} {
					for _, payload := range []string{`{}`, evil} {
						m := message.NewMessage(evil, []byte(payload))
						m.Metadata = message.Metadata{"event_type": eventType, "aggregate_id": evil, "traceparent": evil, "correlation_id": evil}
						if err := l.channel.Publish("orders", m); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
			out := l.out.String()
			if strings.Count(out, "forged") < 4 {
				t.Fatalf("the hostile texts are not in the log at all:\n%s", out)
			}
			if got, want := strings.Count(out, "\n"), int(l.records.Load()); got != want {
				t.Errorf("%d lines for %d records:\n%s", got, want, out)
			}
			for line := range strings.Lines(out) {
				if name == "json" && !json.Valid([]byte(line)) || name == "text" && !strings.HasPrefix(line, "time=") {
					t.Errorf("a line that the log did not begin: %q", line)
				}
			}
			if i := strings.IndexAny(out, "\r\x00\x1b\u2028"); i >= 0 {
				t.Errorf("a control character is in the log as it is: %q", out[max(0, i-50):i+1])
			}
		})
	}
}
