package membus_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/leat-go/leat/eventbus/membus"
)

// A million events, published in the background as fast as they can be made,
// in front of a handler: what is live in between does not grow.
func TestMemory_FlatOverAMillionEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a million events take some seconds")
	}
	bus := open(t, func(c *membus.Config) { c.MaxBackground = 64 })
	var handled atomic.Int64
	on(t, bus, "h", func(context.Context, OrderCreated) error { handled.Add(1); return nil })
	ctx, e := t.Context(), created("order-1")
	const events, warm = 1_000_000, 100_000
	var before, after runtime.MemStats
	for i := range events {
		if err := bus.PublishInBackground(ctx, e); err != nil {
			t.Fatal(err)
		}
		switch i {
		case warm:
			runtime.GC()
			runtime.ReadMemStats(&before)
		case events - 1:
			runtime.GC()
			runtime.ReadMemStats(&after)
		}
	}
	if _, err := bus.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	s := bus.Stats()
	if handled.Load() != events || s.EventsPublished != events || s.BackgroundErrors != 0 {
		t.Errorf("handled %d, stats %+v", handled.Load(), s)
	}
	if s.BackgroundTasksCreated+s.BackgroundTasksInline != events {
		t.Errorf("created %d + inline %d, want %d", s.BackgroundTasksCreated, s.BackgroundTasksInline, events)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the live heap grew by %d bytes over %d events", grown, events-warm)
	}
}

// A handler that publishes the next event in the background, with its context,
// and so on: no event holds those before it.
func TestMemory_FlatOverAChainOfEvents(t *testing.T) {
	type key struct{}
	const steps = 5000
	bus := open(t)
	done := make(chan runtime.MemStats)
	heap := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	step := 0
	on(t, bus, "next", func(ctx context.Context, e OrderCreated) error {
		if ctx.Value(key{}) != "of the first publisher" {
			t.Errorf("step %d: the publisher's value is gone", step)
		}
		if step++; step == steps {
			done <- heap()
			return nil
		}
		return bus.PublishInBackground(ctx, created(e.AggregateID))
	})
	before := heap()
	if err := bus.Publish(context.WithValue(t.Context(), key{}, "of the first publisher"), created("1")); err != nil {
		t.Fatal(err)
	}
	after := <-done
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes more after %d steps", grown, steps)
	}
}
