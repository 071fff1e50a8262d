package redisbus_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
)

// envLong has the tests of memory go over a million events and 100,000 letters,
// also with the race detector.
const envLong = "LEAT_TEST_LONG"

func long() bool { return os.Getenv(envLong) != "" }

// heap returns the bytes in use after a collection. Two, because the first one
// leaves what pools and finalizers hold.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Events go through publisher, server and handlers, chunk by chunk; what is
// handled is trimmed. After a tenth of them the heap is as large as after all.
func TestMemory_FlatOverManyEvents(t *testing.T) {
	total := 100_000
	switch {
	case long():
		total = 1_000_000
	case raced:
		total = 30_000
	}
	const chunks, batch = 20, 500
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	admin := connect(t, server.URL())
	bus := openBus(t, redisbus.Config{URL: server.URL(), StreamPrefix: "memory", ConsumerGroup: "g", Concurrency: 8})
	var handled atomic.Int64
	handle(t, bus, func(context.Context, Placed) error { handled.Add(1); return nil })
	run(t, bus)

	var sizes []int64
	published := 0
	for range chunks {
		for range total / chunks / batch {
			events := make([]eventbus.Event, batch)
			for i := range events {
				events[i] = placed(fmt.Sprint(published + i))
			}
			if err := bus.Publish(t.Context(), events...); err != nil {
				t.Fatal(err)
			}
			published += batch
		}
		eventually(t, "the chunk is handled", func() bool { return int(handled.Load()) == published })
		eventually(t, "it is acknowledged", func() bool { return pendingOf(t, admin, "memory:stream", "g") == 0 })
		if err := admin.XTrimMaxLen(t.Context(), "memory:stream", 0).Err(); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, heap())
	}
	first, last := sizes[chunks/10-1], sizes[chunks-1]
	t.Logf("%d events, heap after each chunk in KiB: %v", published, kib(sizes))
	if grown := last - first; grown > 512<<10 {
		t.Errorf("the heap grew by %d KiB between %d and %d events, want no growth", grown>>10, published/10, published)
	}
	if s := bus.TransportStats(); s.InFlight != 0 || s.Lost != 0 || int(s.Acked) != published {
		t.Errorf("at the end: %+v", s)
	}
}

func kib(sizes []int64) []int64 {
	out := make([]int64, len(sizes))
	for i, n := range sizes {
		out[i] = n >> 10
	}
	return out
}

// Handlers that never end, and a publisher that goes on: what waits, waits on
// the server.
func TestMemory_SlowConsumerFastPublisher(t *testing.T) {
	const total, batch = 20_000, 500
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	bus := openBus(t, redisbus.Config{URL: server.URL(), ConsumerGroup: "g", Concurrency: 4, MaxInFlight: 100})
	release := make(chan struct{})
	handle(t, bus, func(context.Context, Placed) error { <-release; return nil })
	run(t, bus)
	defer close(release)
	var first int64
	for published := 0; published < total; published += batch {
		events := make([]eventbus.Event, batch)
		for i := range events {
			events[i] = placed(fmt.Sprint(published + i))
		}
		if err := bus.Publish(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		if published == total/10 {
			eventually(t, "as much is in flight as may be", func() bool { return bus.TransportStats().InFlight == 100 })
			first = heap()
		}
	}
	if grown := heap() - first; grown > 512<<10 {
		t.Errorf("the heap grew by %d KiB while %d events waited", grown>>10, total)
	}
	if n := bus.TransportStats().InFlight; n != 100 {
		t.Errorf("%d in flight, want MaxInFlight", n)
	}
	if lag, err := bus.Lag(t.Context()); counts(t, connect(t, server.URL())) && lag != total-100 || err != nil {
		t.Errorf("lag %d, %v, want what is not in flight", lag, err)
	}
}
