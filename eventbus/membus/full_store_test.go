package membus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
)

func TestFullStore_PublishWaitsAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := open(t, func(c *membus.Config) { c.MaxDeadLetters = 1; c.Retry.MaxRetries = middleware.NoRetries })
		on(t, bus, "bad", func(context.Context, OrderCreated) error { return errors.New("no") })
		if err := bus.Publish(t.Context(), created("1")); err != nil {
			t.Fatal(err)
		}
		second := make(chan error, 1)
		go func() { second <- bus.Publish(t.Context(), created("2")) }()
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of synctest
		select {
		case err := <-second:
			t.Fatalf("returned %v while the store is full", err)
		default:
		}
		if _, err := bus.DeadLetters().Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
		if l := only(t, bus); l.Key != "2" {
			t.Errorf("letter of %s, want 2", l.Key)
		}
	})
}

// The letter that is replayed still holds the only place when its handler
// fails again: the two must not wait for each other.
func TestReplay_IntoAFullStoreEnds(t *testing.T) {
	bus := open(t, func(c *membus.Config) { c.MaxDeadLetters = 1; c.Retry.MaxRetries = middleware.NoRetries })
	on(t, bus, "bad", func(context.Context, OrderCreated) error { return errors.New("no") })
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	if err := bus.DeadLetters().Replay(t.Context(), only(t, bus).ID); err != nil {
		t.Fatal(err)
	}
	if l := only(t, bus); l.Replays != 1 {
		t.Errorf("letter = %+v", l)
	}
}
