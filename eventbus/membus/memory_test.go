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
