package eventbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

// scripted is a Watermill publisher that does what the test says.
type scripted struct {
	mu        sync.Mutex
	published []*message.Message
	closed    bool
	do        func(n int, msg *message.Message) error
}

func (p *scripted) Publish(_ string, msgs ...*message.Message) error {
	for _, m := range msgs {
		p.mu.Lock()
		n := len(p.published)
		p.published = append(p.published, m)
		p.mu.Unlock()
		if p.do != nil {
			if err := p.do(n, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *scripted) Close() error { p.closed = true; return nil }

func (p *scripted) messages() []*message.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published
}

// batching takes whole batches and answers with fixed outcomes.
type batching struct {
	scripted
	errs []error
}

func (p *batching) PublishBatch(_ context.Context, topic string, msgs []*message.Message) []error {
	_ = p.Publish(topic, msgs...) // scripted records
	return p.errs
}

func open(t testing.TB, pub message.Publisher, alter ...func(*eventbus.Config)) *eventbus.Bus {
	t.Helper()
	cfg := eventbus.Config{Publisher: pub, Registry: shop(t), Topic: "orders", Logger: slog.New(slog.DiscardHandler)}
	for _, a := range alter {
		a(&cfg)
	}
	bus, err := eventbus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := bus.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return bus
}

func TestPublish_WritesTheWholeEventOnTheWire(t *testing.T) {
	pub := &scripted{}
	bus := open(t, pub)
	e := created("order-1")
	e.OccurredAt = time.Date(2026, 1, 2, 3, 4, 5, 678901999, time.FixedZone("", 3600))
	e.EventID, e.CorrelationID = "id-1", "cor-1"

	if err := bus.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}

	m := pub.messages()[0]
	const payload = `{"event_id":"id-1","event_type":"OrderCreated","event_version":1,"occurred_at":"2026-01-02T02:04:05.678901Z",` +
		`"aggregate_id":"order-1","aggregate_type":"Order","aggregate_version":1,"tenant_id":null,"actor_id":null,` +
		`"correlation_id":"cor-1","causation_id":null,"metadata":{},"customer_id":"c-1","amount":12.5,"note":null}`
	if string(m.Payload) != payload {
		t.Errorf("payload\n%s\nwant\n%s", m.Payload, payload)
	}
	want := message.Metadata{
		"event_id": "id-1", "event_type": "OrderCreated", "event_version": "1", "aggregate_id": "order-1", "aggregate_type": "Order",
		"aggregate_version": "1", "occurred_at": "2026-01-02T02:04:05.678901+00:00", "correlation_id": "cor-1",
	}
	if m.UUID != "id-1" || fmt.Sprint(m.Metadata) != fmt.Sprint(want) {
		t.Errorf("uuid %q, metadata %v, want %v", m.UUID, m.Metadata, want)
	}
	if e.EventType != "" || e.AggregateType != "" {
		t.Errorf("Publish wrote to the caller's event: %+v", e.Base)
	}
}

func TestPublish_RefusesBadEventsAtTheDoor(t *testing.T) {
	long := strings.Repeat("x", 1000)
	bad := map[string]struct {
		event eventbus.Event
		want  error
	}{
		"nil":                   {nil, eventbus.ErrInvalidEvent},
		"a nil pointer":         {(*OrderCreated)(nil), eventbus.ErrInvalidEvent},
		"an unregistered type":  {&other{Base: eventbus.NewBase("a")}, eventbus.ErrUnregistered},
		"no base":               {&OrderCreated{}, eventbus.ErrInvalidEvent},
		"no aggregate":          {created(""), eventbus.ErrInvalidEvent},
		"a long id":             {created(long), eventbus.ErrInvalidEvent},
		"CR LF in an id":        {created("a\r\nb"), eventbus.ErrInvalidEvent},
		"an id that is no text": {created("a\xff"), eventbus.ErrInvalidEvent},
		"another type's name":   {&OrderCreated{Base: func() eventbus.Base { b := eventbus.NewBase("a"); b.EventType = "ParcelSent"; return b }()}, eventbus.ErrInvalidEvent},
		"a bad aggregate type":  {&OrderCreated{Base: func() eventbus.Base { b := eventbus.NewBase("a"); b.AggregateType = "x*"; return b }()}, eventbus.ErrInvalidName},
		"the year 12000": {&OrderCreated{Base: func() eventbus.Base {
			b := eventbus.NewBase("a")
			b.OccurredAt = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
			return b
		}()}, eventbus.ErrInvalidEvent},
		"the year 10000 in UTC": {&OrderCreated{Base: func() eventbus.Base {
			b := eventbus.NewBase("a")
			b.OccurredAt = time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -5*3600))
			return b
		}()}, eventbus.ErrInvalidEvent},
		"a value with no JSON": {&OrderCreated{Base: func() eventbus.Base {
			b := eventbus.NewBase("a")
			b.Metadata = map[string]any{"f": func() {}}
			return b
		}()}, nil},
		"too large": {&OrderCreated{Base: eventbus.NewBase("a"), CustomerID: strings.Repeat("x", 5000)}, codec.ErrTooLarge},
	}
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			pub := &scripted{}
			bus := open(t, pub, func(c *eventbus.Config) { c.MaxPayloadBytes = 4000 })
			good := created("order-1")

			err := bus.Publish(t.Context(), good, c.event)

			var pe *eventbus.PublishError
			if !errors.As(err, &pe) {
				t.Fatalf("err = %v, want a *PublishError", err)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("err = %v, want it to wrap %v", err, c.want)
			}
			confirmed, refused, unknown := pe.Counts()
			if confirmed != 0 || refused != 2 || unknown != 0 || len(pub.messages()) != 0 {
				t.Errorf("confirmed %d, refused %d, unknown %d, sent %d, want all refused and none sent", confirmed, refused, unknown, len(pub.messages()))
			}
			if checked := bus.Check(good, c.event); checked == nil || checked.Error() != err.Error() {
				t.Errorf("Check says %v, Publish %v", checked, err)
			}
			if pe.Results[1].EventType == "" {
				t.Error("the refused event's result has no type")
			}
			if pe.Results[0].EventID != good.EventID {
				t.Errorf("the good event's result has the id %q", pe.Results[0].EventID)
			}
			if text := err.Error(); len(text) > 1000 || strings.ContainsAny(text, "\r\n") {
				t.Errorf("the text is not one short line: %q", text)
			}
			if err := bus.Publish(t.Context(), good); err != nil {
				t.Errorf("afterwards a good event: %v", err)
			}
		})
	}
}

func TestPublish_NothingDoesNothing(t *testing.T) {
	pub := &scripted{}
	bus := open(t, pub)
	if err := errors.Join(bus.Publish(t.Context()), bus.PublishInBackground(t.Context())); err != nil {
		t.Error(err)
	}
	if n := len(pub.messages()); n != 0 || bus.Stats().LastPublishAt != (time.Time{}) {
		t.Errorf("published %d, last at %v", n, bus.Stats().LastPublishAt)
	}
}

func TestPublishInBackground_IsBoundedAndDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		pub := &scripted{do: func(int, *message.Message) error { <-release; return nil }}
		bus, err := eventbus.New(eventbus.Config{Publisher: pub, Registry: shop(t), Topic: "orders", MaxBackground: 2})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := bus.PublishInBackground(t.Context(), created("a")); err != nil {
				t.Fatal(err)
			}
		}
		inline := make(chan error)
		go func() { inline <- bus.PublishInBackground(t.Context(), created("a")) }()
		synctest.Wait()
		select {
		case <-inline:
			t.Error("the third call returned while two are under way, want it to run inline")
		default:
		}
		if n := bus.BackgroundTaskCount(); n != 2 {
			t.Errorf("under way = %d, want 2", n)
		}
		down := make(chan error)
		go func() {
			_, err := bus.Shutdown(t.Context())
			down <- err
		}()
		synctest.Wait()
		if err := bus.PublishInBackground(t.Context(), created("a")); !errors.Is(err, eventbus.ErrClosed) {
			t.Errorf("publish during shutdown: %v, want ErrClosed", err)
		}
		close(release)
		if err := errors.Join(<-inline, <-down); err != nil {
			t.Error(err)
		}
		if n := len(pub.messages()); n != 3 {
			t.Errorf("published %d, want 3", n)
		}
		if s := bus.Stats(); s.BackgroundTasksCreated != 2 || s.BackgroundTasksInline != 1 || s.BackgroundTasksActive != 0 || s.BackgroundErrors != 0 {
			t.Errorf("stats = %+v", s)
		}
	})
}

func TestNew_TellsEveryMistakeAtOnce(t *testing.T) {
	_, err := eventbus.New(eventbus.Config{
		Topic: "or ders", Group: "\x00", Concurrency: -1, MaxBackground: -5, DrainTimeout: -time.Second,
		Middleware: []message.HandlerMiddleware{nil},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"Publisher", "Registry", "Topic", "Group", "Concurrency", "MaxBackground", "DrainTimeout", "Middleware[0]"} {
		if !strings.Contains(err.Error(), "eventbus: Config."+field+": ") {
			t.Errorf("no word on %s in:\n%v", field, err)
		}
	}
}

func TestShutdown_LeavesThePublisherOpen(t *testing.T) {
	pub := &scripted{}
	bus, err := eventbus.New(eventbus.Config{Publisher: pub, Registry: shop(t), Topic: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := bus.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if pub.closed {
		t.Error("Shutdown closed a publisher that it was given")
	}
	if err := bus.Publish(t.Context(), created("a")); !errors.Is(err, eventbus.ErrClosed) {
		t.Errorf("publish after shutdown: %v", err)
	}
	if err := bus.Run(t.Context()); !errors.Is(err, eventbus.ErrClosed) {
		t.Errorf("run after shutdown: %v", err)
	}
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, OrderCreated) error { return nil }); !errors.Is(err, eventbus.ErrClosed) {
		t.Errorf("subscribe after shutdown: %v", err)
	}
}

type bomb struct {
	eventbus.Base
	Field explosive `json:"field"`
}

func (explosive) MarshalJSON() ([]byte, error) { panic("boom") }

func TestNew_LimitsFitTogether(t *testing.T) {
	pub := &scripted{}
	bus := open(t, pub, func(c *eventbus.Config) { c.MaxPayloadBytes, c.MaxReplays = 4<<20, dlq.Unlimited })
	e := created("a")
	e.CustomerID = strings.Repeat("x", 2<<20)
	if err := bus.Publish(t.Context(), e); err != nil || len(pub.messages()) != 1 {
		t.Errorf("2 MiB of the 4 allowed: %v", err)
	}
	if _, err := eventbus.New(eventbus.Config{Publisher: pub, Registry: shop(t), Topic: "orders", MaxReplays: -2}); err == nil {
		t.Error("MaxReplays -2 was taken")
	}
}
