package eventbus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

func letters(t *testing.T, bus *eventbus.Bus) []dlq.Letter {
	t.Helper()
	var all []dlq.Letter
	for l, err := range bus.DeadLetters().List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// A letter that the user's own message middleware caused can be replayed.
func TestReplay_OfWhatAMessageMiddlewareFailed(t *testing.T) {
	ps := pubsub(t)
	var broken atomic.Bool
	broken.Store(true)
	bus := over(t, ps, func(c *eventbus.Config) {
		c.Middleware = []message.HandlerMiddleware{func(h message.HandlerFunc) message.HandlerFunc {
			return func(m *message.Message) ([]*message.Message, error) {
				if broken.Load() {
					return nil, errors.New("tenant service is away")
				}
				return h(m)
			}
		}}
	})
	got := make(chan string, 10)
	if _, err := eventbus.Subscribe(bus, "h", func(_ context.Context, e OrderCreated) error { got <- e.AggregateID; return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	wait(t, "a letter", func() bool { return bus.Stats().MessagesSentToDLQ == 1 })
	l := letters(t, bus)[0]
	if len(l.Handlers) != 0 {
		t.Errorf("the letter names the handlers %q, none of which ran", l.Handlers)
	}
	broken.Store(false)
	if err := bus.DeadLetters().Replay(t.Context(), l.ID); err != nil {
		t.Fatal(err)
	}
	receive(t, got)
}

// A replay aimed at a handler that is gone, buried again, is still aimed.
func TestReplay_ForAHandlerThatIsGoneStaysAimed(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps)
	var good atomic.Int32
	if _, err := eventbus.Subscribe(bus, "good", func(context.Context, OrderCreated) error { good.Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	bad, err := eventbus.Subscribe(bus, "bad", func(context.Context, OrderCreated) error { return middleware.Permanent(errors.New("no")) })
	if err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	wait(t, "a letter", func() bool { return bus.Stats().MessagesSentToDLQ == 1 })
	bad.Unsubscribe()
	for n := range 2 {
		if err := bus.DeadLetters().Replay(t.Context(), letters(t, bus)[0].ID); err != nil {
			t.Fatal(err)
		}
		wait(t, "consumed", func() bool { return bus.Stats().EventsConsumed == int64(n+2) })
	}
	if good.Load() != 1 {
		t.Errorf("good ran %d times, it never failed; letters %+v", good.Load(), letters(t, bus))
	}
}

// ... also when no handler of the type is left at all.
func TestReplay_WithNoHandlerOfTheTypeLeftIsNotLost(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps)
	bad, err := eventbus.Subscribe(bus, "bad", func(context.Context, OrderCreated) error { return middleware.Permanent(errors.New("no")) })
	if err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	wait(t, "a letter", func() bool { return bus.Stats().MessagesSentToDLQ == 1 })
	bad.Unsubscribe()
	if err := bus.DeadLetters().Replay(t.Context(), letters(t, bus)[0].ID); err != nil {
		t.Fatal(err)
	}
	wait(t, "consumed", func() bool { return bus.Stats().EventsConsumed == 2 })
	if n := len(letters(t, bus)); n != 1 {
		t.Errorf("%d letters: the event is gone", n)
	}
}

// A message middleware that runs its inside again, on a replay.
func TestReplay_StaysAimedWhenMiddlewareRunsItTwice(t *testing.T) {
	ps := pubsub(t)
	var commits atomic.Int32
	bus := over(t, ps, func(c *eventbus.Config) {
		c.Middleware = []message.HandlerMiddleware{
			middleware.Retry{BaseDelay: time.Millisecond}.Middleware,
			func(h message.HandlerFunc) message.HandlerFunc {
				return func(m *message.Message) ([]*message.Message, error) {
					out, err := h(m)
					if err == nil && m.Metadata["dlq_replay_count"] != "" && commits.Add(1) == 1 {
						err = errors.New("commit failed")
					}
					return out, err
				}
			},
		}
	})
	var good atomic.Int32
	var mended atomic.Bool
	if _, err := eventbus.Subscribe(bus, "good", func(context.Context, OrderCreated) error { good.Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := eventbus.Subscribe(bus, "bad", func(context.Context, OrderCreated) error {
		if mended.Load() {
			return nil
		}
		return middleware.Permanent(errors.New("no"))
	}); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	wait(t, "a letter", func() bool { return bus.Stats().MessagesSentToDLQ == 1 })
	mended.Store(true)
	if err := bus.DeadLetters().Replay(t.Context(), letters(t, bus)[0].ID); err != nil {
		t.Fatal(err)
	}
	wait(t, "consumed", func() bool { return bus.Stats().EventsConsumed == 2 })
	if good.Load() != 1 {
		t.Errorf("good ran %d times", good.Load())
	}
}

// HandlerMiddleware that writes metadata does not change the letter.
func TestLetter_KeepsTheOriginalMetadata(t *testing.T) {
	ps := pubsub(t)
	bus := over(t, ps, func(c *eventbus.Config) {
		c.HandlerMiddleware = []message.HandlerMiddleware{func(h message.HandlerFunc) message.HandlerFunc {
			return func(m *message.Message) ([]*message.Message, error) { m.Metadata.Set("mine", "x"); return h(m) }
		}}
	})
	if _, err := eventbus.Subscribe(bus, "bad", func(context.Context, OrderCreated) error { return middleware.Permanent(errors.New("no")) }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	wait(t, "a letter", func() bool { return bus.Stats().MessagesSentToDLQ == 1 })
	if md := letters(t, bus)[0].Metadata; md["mine"] != "" {
		t.Errorf("metadata of the letter: %v", md)
	}
}
