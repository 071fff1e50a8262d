package eventbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

func TestDispatch_ForeignUndecodableAndUnknown(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps)
	handled := make(chan string, 10)
	if _, err := eventbus.Subscribe(bus, "h", func(_ context.Context, e OrderCreated) error { handled <- e.AggregateID; return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	raw := func(md message.Metadata, payload string) {
		m := message.NewMessage(watermill.NewUUID(), []byte(payload))
		m.Metadata = md
		if err := ps.Publish("orders", m); err != nil {
			t.Fatal(err)
		}
	}
	raw(message.Metadata{}, "\x00 not ours")
	raw(message.Metadata{"event_type": "OrderCreated"}, `{"event_id":`)
	raw(message.Metadata{"event_type": "NobodyKnows"}, `{"event_id":`)
	raw(message.Metadata{"event_type": "ParcelSent"}, `{"event_id":`)
	if err := bus.Publish(t.Context(), created("good")); err != nil {
		t.Fatal(err)
	}

	if id := receive(t, handled); id != "good" {
		t.Errorf("handled %s", id)
	}
	wait(t, "five consumed", func() bool { return bus.Stats().EventsConsumed == 5 })
	s := bus.Stats()
	if s.EventsSkipped != 2 || s.EventsProcessedFailed != 2 || s.MessagesSentToDLQ != 2 || s.Retries != 0 || s.EventsProcessedSuccess != 1 {
		t.Errorf("stats = %+v", s)
	}
	var payloads []string
	for l, err := range bus.DeadLetters().List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Reason != "deserialization_error" || len(l.Handlers) != 0 {
			t.Errorf("letter = %+v", l)
		}
		payloads = append(payloads, string(l.Payload))
	}
	if slices.Sort(payloads); !slices.Equal(payloads, []string{"\x00 not ours", `{"event_id":`}) {
		t.Errorf("letters = %q", payloads)
	}
}

func TestDispatch_AliasesAndUpcasting(t *testing.T) {
	ps := pubsub(t)
	reg := eventbus.NewRegistry()
	lift := func(version int, payload []byte) ([]byte, error) {
		if version == 9 {
			return nil, errors.New("no way from 9")
		}
		return []byte(strings.Replace(string(payload), `"kilos"`, `"weight"`, 1)), nil
	}
	if err := eventbus.Register[parcelSent](reg, "ParcelSent", eventbus.Version(10), eventbus.Alias("Parcel"), eventbus.Upcast(lift)); err != nil {
		t.Fatal(err)
	}
	bus := over(t, ps, func(c *eventbus.Config) { c.Registry = reg })
	got := make(chan parcelSent, 10)
	if _, err := eventbus.Subscribe(bus, "h", func(_ context.Context, e parcelSent) error { got <- e; return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	for _, payload := range []string{
		`{"event_id":"1","event_type":"Parcel","event_version":1,"occurred_at":"2026-01-02T03:04:05+00:00","aggregate_id":"a","kilos":7}`,
		`{"event_id":"2","event_type":"Parcel","event_version":9,"occurred_at":"2026-01-02T03:04:05Z","aggregate_id":"a","kilos":8}`,
		`{"event_id":"3","event_type":"Parcel","event_version":11,"occurred_at":"2026-01-02T03:04:05Z","aggregate_id":"a","weight":9,"new":1}`,
	} {
		m := message.NewMessage(watermill.NewUUID(), []byte(payload))
		m.Metadata["event_type"] = "Parcel"
		if err := ps.Publish("orders", m); err != nil {
			t.Fatal(err)
		}
	}
	a, b := receive(t, got), receive(t, got)
	weights := []string{fmt.Sprint(a.Weight, " v", a.EventVersion), fmt.Sprint(b.Weight, " v", b.EventVersion)}
	slices.Sort(weights)
	if !slices.Equal(weights, []string{"7 v10", "9 v11"}) || a.EventType != "ParcelSent" {
		t.Errorf("got %v, type %s", weights, a.EventType)
	}
	wait(t, "the one that cannot be lifted is buried", func() bool { return bus.Stats().MessagesSentToDLQ == 1 })
}

// A handler that returns the hand-back of some other message, while its own
// context lives, has failed: its message is not nacked for it.
func TestHandler_CannotHandBackByItself(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps)
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, OrderCreated) error {
		return fmt.Errorf("elsewhere: %w", middleware.ErrHandedBack)
	}); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	wait(t, "a letter", func() bool { return bus.Stats().MessagesSentToDLQ == 1 })
	if s := bus.Stats(); s.EventsHandedBack != 0 || s.HandlersInvoked != 3 || s.EventsProcessedFailed != 1 {
		t.Errorf("stats = %+v", s)
	}
}

// The user's own time-out around the whole message ends it as a failure: it is
// buried, and neither nacked nor held for ever.
func TestMiddleware_TimeoutAroundTheMessageBuries(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps, func(c *eventbus.Config) {
		c.Middleware = []message.HandlerMiddleware{middleware.Timeout{After: 10 * time.Millisecond}.Middleware}
	})
	if _, err := eventbus.Subscribe(bus, "h", func(ctx context.Context, _ OrderCreated) error {
		<-ctx.Done()
		return ctx.Err()
	}); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	wait(t, "a letter", func() bool { return bus.Stats().MessagesSentToDLQ == 1 })
	if s := bus.Stats(); s.EventsHandedBack != 0 || s.EventsProcessedFailed != 1 {
		t.Errorf("stats = %+v", s)
	}
}

// What is tried again is told to the bus's logger: of an event that is buried
// later, the letter has the last failure only.
func TestRetry_IsLogged(t *testing.T) {
	var log bytes.Buffer
	bus := over(t, pubsub(t), func(c *eventbus.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	done := make(chan struct{})
	attempts := 0
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, OrderCreated) error {
		if attempts++; attempts == 1 {
			return errors.New("the first failure")
		}
		close(done)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Run("running", func(t *testing.T) {
		run(t, bus)
		if err := bus.Publish(t.Context(), created("1")); err != nil {
			t.Fatal(err)
		}
		receive(t, done)
	})
	if !strings.Contains(log.String(), "the first failure") {
		t.Errorf("log:\n%s", log.String())
	}
}
