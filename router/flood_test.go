package router_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

// subscriberFunc is a subscriber that only subscribes.
type subscriberFunc func(context.Context, string) (<-chan *message.Message, error)

func (f subscriberFunc) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	return f(ctx, topic)
}

func (f subscriberFunc) Close() error { return errors.New("closed what was only lent") }

// flood delivers as fast as it is read, without waiting for acks, and gives
// each message a context with a value.
type flood struct {
	msgs  []*message.Message
	taken atomic.Int64
	ended chan struct{}
	end   func()
}

type floodKey struct{}

func newFlood(n int, key func(int) string) *flood {
	f := &flood{ended: make(chan struct{})}
	f.end = sync.OnceFunc(func() { close(f.ended) })
	for i := range n {
		m := message.NewMessage(fmt.Sprint(i), message.Payload{byte(i)})
		m.Metadata.Set("aggregate_id", key(i))
		m.SetContext(context.WithValue(context.Background(), floodKey{}, i))
		f.msgs = append(f.msgs, m)
	}
	return f
}

func (f *flood) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for _, m := range f.msgs {
			select {
			case out <- m:
				f.taken.Add(1)
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-f.ended:
		case <-ctx.Done():
		}
	}()
	return out, nil
}

func (f *flood) Close() error { return errors.New("closed what was only lent") }

func (f *flood) acked() (n int) {
	for _, m := range f.msgs {
		select {
		case <-m.Acked():
			n++
		default:
		}
	}
	return n
}

func TestDecorate_KeysInOrderAndInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, each, workers = 7, 40, 4
		flood := newFlood(keys*each, func(i int) string { return fmt.Sprint("k", i%keys) })
		sub := router.Decorate(flood, router.DrainConfig{Concurrency: workers})
		out := subscribe(t.Context(), t, sub, "t")

		var mu sync.Mutex
		seen := map[string][]int{}
		busy := map[string]int{}
		most := 0
		var handlers sync.WaitGroup
		for range keys * each {
			m := <-out
			handlers.Go(func() {
				key := m.Metadata.Get("aggregate_id")
				mu.Lock()
				busy[key]++
				most = max(most, len(busy))
				if busy[key] > 1 {
					t.Errorf("two messages of %s at once", key)
				}
				seen[key] = append(seen[key], int(m.Payload[0]))
				mu.Unlock()
				<-time.After(time.Millisecond)
				mu.Lock()
				delete(busy, key)
				mu.Unlock()
				m.Ack()
			})
		}
		handlers.Wait()
		if most != workers {
			t.Errorf("at most %d messages ran at once, want %d", most, workers)
		}
		for _, key := range slices.Sorted(maps.Keys(seen)) {
			if len(seen[key]) != each {
				t.Errorf("%s: %d messages, want %d", key, len(seen[key]), each)
			}
			for i, n := range seen[key] {
				if want := (i*keys + seen[key][0]) % 256; n != want {
					t.Errorf("%s: message %d at place %d, want %d", key, n, i, want)
				}
			}
		}
		<-drain(t.Context(), sub)
	})
}

func TestDecorate_TakesNoMoreThanMaxInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct{ concurrency, maxInFlight, want int }{{1, 0, 1}, {1, 5, 5}, {3, 0, 48}, {3, 4, 4}} {
			flood := newFlood(100, func(int) string { return "one" })
			sub := router.Decorate(flood, router.DrainConfig{Concurrency: tc.concurrency, MaxInFlight: tc.maxInFlight})
			out := subscribe(t.Context(), t, sub, "t")
			first := <-out
			synctest.Wait()
			if n := flood.taken.Load(); n != int64(tc.want) {
				t.Errorf("%+v: took %d, want %d", tc, n, tc.want)
			}
			first.Ack()
			synctest.Wait()
			if n := flood.taken.Load(); n != int64(tc.want)+1 {
				t.Errorf("%+v: took %d after one ack, want %d", tc, n, tc.want+1)
			}
			got := <-drain(t.Context(), sub)
			if got.report.HandedBack < tc.want || flood.acked() != 1 {
				t.Errorf("%+v: %d handed back, %d acked, want at least %d and 1", tc, got.report.HandedBack, flood.acked(), tc.want)
			}
		}
	})
}

func TestDecorate_HandsOutCopiesWithTheInnerContextsValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flood := newFlood(1, func(int) string { return "k" })
		sub := router.Decorate(flood, router.DrainConfig{})
		type subscribeKey struct{}
		m := <-subscribe(context.WithValue(t.Context(), subscribeKey{}, 1), t, sub, "t")

		m.Metadata.Set("aggregate_id", "changed")
		if got := flood.msgs[0].Metadata.Get("aggregate_id"); got != "k" {
			t.Errorf("a handler changed the inner message's metadata to %q", got)
		}
		if m == flood.msgs[0] || m.UUID != "0" || string(m.Payload) != "\x00" {
			t.Errorf("message = %v, want a copy with id and payload", m)
		}
		if v := m.Context().Value(floodKey{}); v != 0 {
			t.Errorf("value of the inner message's context = %v, want 0", v)
		}
		child, cancel := context.WithCancel(m.Context())
		defer cancel()
		m.Ack()
		<-m.Context().Done() // Watermill: it ends with the settlement
		if <-child.Done(); !errors.Is(context.Cause(child), context.Canceled) {
			t.Errorf("cause after the ack = %v, want context.Canceled", context.Cause(child))
		}
		<-drain(t.Context(), sub)
	})
}

// Drain, Close and the end of the context at once, under load: every message
// is acked or handed back, none both, and nothing hangs.
func TestDrain_EverythingAtOnce(t *testing.T) {
	for round := range 20 {
		flood := newFlood(500, func(i int) string { return fmt.Sprint(i % 11) })
		sub := router.Decorate(flood, router.DrainConfig{Concurrency: 8, SettleTimeout: time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		out := subscribe(ctx, t, sub, "t")
		var acks atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for m := range out {
					m.Ack()
					acks.Add(1)
				}
			})
		}
		wg.Go(func() {
			for acks.Load() < int64(round*10) {
				<-time.After(50 * time.Microsecond)
			}
			cancel()
		})
		wg.Go(func() {
			for acks.Load() < int64(round*10) {
				<-time.After(50 * time.Microsecond)
			}
			if err := sub.Close(); err != nil {
				t.Error(err)
			}
		})
		for acks.Load() < int64(round*10) {
			<-time.After(50 * time.Microsecond)
		}
		if _, err := sub.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if got, want := flood.acked(), int(acks.Load()); got != want {
			t.Errorf("round %d: %d inner messages acked, want the %d that were handled", round, got, want)
		}
	}
}
