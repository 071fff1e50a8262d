package dlq_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
)

func TestMemStore(t *testing.T) {
	t.Parallel()
	dlqtest.Run(t, func(*testing.T) dlq.Store { return dlq.NewMemStore(dlq.MemConfig{}) })
}

func newTopic(t *testing.T, g *log) *dlq.Topic {
	t.Helper()
	s, err := dlq.NewTopic(dlq.TopicConfig{
		Publisher: g, Topic: "orders_dlq",
		Subscribe: func(context.Context) (message.Subscriber, error) { return g, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTopic(t *testing.T) {
	t.Parallel()
	dlqtest.Run(t, func(t *testing.T) dlq.Store {
		t.Helper()
		g := newLog()
		t.Cleanup(func() {
			if g.closes != 0 {
				t.Errorf("the given Pub/Sub was closed %d times, want never", g.closes)
			}
		})
		return newTopic(t, g)
	})
}

// Watermill's gochannel with history hands out a topic in no order at all. In a
// synctest bubble the settle time passes only when every one of its goroutines
// has nothing left to do, so the cases do not depend on the machine's speed.
func TestTopic_OnGochannel(t *testing.T) {
	t.Parallel()
	for _, c := range dlqtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, nil)
				s, err := dlq.NewTopic(dlq.TopicConfig{
					Publisher: g, Topic: "orders_dlq", Settle: 50 * time.Millisecond,
					Subscribe: func(context.Context) (message.Subscriber, error) { return g, nil },
				})
				if err != nil {
					t.Fatal(err)
				}
				c.Run(t, s)
				if err := g.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// first is a letter that was never replayed.
func first(n int) dlq.Letter {
	l := dlqtest.Letter(n)
	l.Replays = 0
	return l
}

func TestMemStore_FullRefusesAndLosesNothing(t *testing.T) {
	t.Parallel()
	s := dlq.NewMemStore(dlq.MemConfig{Max: 2})
	for n := range 2 {
		if _, err := s.Bury(t.Context(), first(n)); err != nil {
			t.Fatal(err)
		}
	}
	var full *dlq.FullError
	if _, err := s.Bury(t.Context(), first(2)); !errors.As(err, &full) || full.Letters != 2 || full.MaxCount != 2 {
		t.Fatalf("third letter in a store for two: %v, want a *FullError", err)
	}
	again := first(3)
	again.Replays = 1 // its predecessor is still here, and goes when this one is safe
	back, err := s.Bury(t.Context(), again)
	if err != nil {
		t.Fatalf("a letter that comes back from a replay: %v", err)
	}
	if err := s.Remove(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	if n, _ := s.Count(t.Context()); n != 2 {
		t.Errorf("count = %d, want 2", n)
	}
	if err := s.Remove(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bury(t.Context(), first(2)); err != nil {
		t.Errorf("after making room: %v", err)
	}
	if err := s.Remove(t.Context(), "1"); !errors.Is(err, dlq.ErrNotFound) {
		t.Errorf("remove again: %v, want %v", err, dlq.ErrNotFound)
	}
}

func TestMemStore_FullByBytes(t *testing.T) {
	t.Parallel()
	s := dlq.NewMemStore(dlq.MemConfig{MaxBytes: 10_000})
	big := first(1)
	big.Payload = make([]byte, 8000)
	id, err := s.Bury(t.Context(), big)
	if err != nil {
		t.Fatal(err)
	}
	var full *dlq.FullError
	if _, err := s.Bury(t.Context(), big); !errors.As(err, &full) || full.MaxBytes != 10_000 {
		t.Fatalf("second big letter: %v, want a *FullError", err)
	}
	for range 3 { // the room comes back exactly
		if n, err := s.Delete(t.Context(), id); n != 1 || err != nil {
			t.Fatalf("delete = %d, %v", n, err)
		}
		if id, err = s.Bury(t.Context(), big); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bury(t.Context(), big); err != nil {
		t.Errorf("after purge: %v", err)
	}
}

func TestMemStore_UnknownAfter(t *testing.T) {
	t.Parallel()
	s := dlq.NewMemStore(dlq.MemConfig{})
	for _, after := range []string{"1", "x", "-1", "007"} {
		var err error
		for _, e := range s.List(t.Context(), dlq.Query{After: after}) {
			err = e
		}
		if !errors.Is(err, dlq.ErrNotFound) {
			t.Errorf("list after %q: %v, want %v", after, err, dlq.ErrNotFound)
		}
	}
}
