package redisbus_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/middleware"
)

// OnBuried is told of every letter: of a handler that gave up, and of an event
// that was delivered too often and never reached one. A panic in it is logged.
func TestBus_OnBuriedIsToldOfEveryLetter(t *testing.T) {
	client := shared(t)
	prefix := name("buried")
	log := &lines{}
	letters := make(chan dlq.Letter, 2)
	bus := openBus(t, redisbus.Config{
		Client: client, StreamPrefix: prefix, ConsumerGroup: "g", MaxDeliveries: 2, Logger: slog.New(log),
		Retry: middleware.Retry{MaxRetries: middleware.NoRetries},
		OnBuried: func(_ context.Context, l dlq.Letter) {
			letters <- l
			panic("told")
		},
	})
	if err := bus.Publish(t.Context(), placed("killer")); err != nil {
		t.Fatal(err)
	}
	client.XGroupCreate(t.Context(), prefix+":stream", "g", "0")
	deliveries(t, client, prefix+":stream", "dead", 2, time.Hour, die(t, client, prefix+":stream", "dead", 1)...)
	if err := bus.Publish(t.Context(), placed("failure")); err != nil {
		t.Fatal(err)
	}
	handle(t, bus, func(context.Context, Placed) error { return errors.New("no") })
	run(t, bus)
	told := map[string]dlq.Reason{}
	for range 2 {
		select {
		case l := <-letters:
			if l.ID == "" {
				t.Errorf("told of %s before it had an id", l.Key)
			}
			told[l.Key] = l.Reason
		case <-time.After(patience):
			t.Fatalf("told of %v only", told)
		}
	}
	if told["killer"] != dlq.ReasonDeliveryLimit || told["failure"] == "" {
		t.Errorf("told of %v", told)
	}
	eventually(t, "both panics are logged and both events acknowledged", func() bool {
		panics := 0
		for _, said := range log.Above(slog.LevelError) {
			if contains([]string{said}, "hook panicked") {
				panics++
			}
		}
		return panics == 2 && pendingOf(t, client, prefix+":stream", "g") == 0
	})
}

// The dead letter stream takes nothing for a while: the event stays pending, is
// neither lost nor handled again, and is buried when that is possible.
func TestBus_BurialThatFailsIsTriedAgain(t *testing.T) {
	client := shared(t)
	prefix := name("burial")
	log := &lines{}
	bus := openBus(t, redisbus.Config{
		Client: client, StreamPrefix: prefix, ConsumerGroup: "g", Logger: slog.New(log),
		Retry: middleware.Retry{MaxRetries: middleware.NoRetries},
	})
	var handled atomic.Int64
	handle(t, bus, func(_ context.Context, e Placed) error {
		handled.Add(1)
		if e.Note == "failure" {
			return errors.New("no")
		}
		return nil
	})
	run(t, bus)
	client.Set(t.Context(), prefix+":stream_dlq", "no stream", time.Minute)
	if err := bus.Publish(t.Context(), placed("failure")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is tried again", func() bool { return len(log.Above(slog.LevelError)) >= 3 })
	if n := pendingOf(t, client, prefix+":stream", "g"); n != 1 {
		t.Errorf("%d pending while it cannot be buried, want 1", n)
	}
	client.Del(t.Context(), prefix+":stream_dlq")
	eventually(t, "it is buried and acknowledged", func() bool {
		n, err := bus.DeadLetters().Count(t.Context())
		return n == 1 && err == nil && pendingOf(t, client, prefix+":stream", "g") == 0
	})
	if n := handled.Load(); n != 1 {
		t.Errorf("handled %d times, want once: only the burial is tried again", n)
	}
	if err := bus.Publish(t.Context(), placed("next")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next one is handled", func() bool { return handled.Load() == 2 })
}
