package router_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// scripted is a broker in memory with a subscriber that does what the stock
// watermill-redisstream v1.4.5 does (subscriber.go, processMessage): one
// message in flight, an ack that is one round trip with the subscription's
// context, a nack that is sent again in memory, and a Close that forgets the
// message at hand and closes the client it was given.
type scripted struct {
	roundTrip time.Duration // of an ack
	noContext bool          // messages carry no context, as after a nack
	deaf      bool          // as watermill-amqp: while a message is out, only its ack, its nack and Close are seen

	mu      sync.Mutex
	streams map[string][]*entry
	closed  bool
	closing chan struct{}
	subs    sync.WaitGroup
}

type entry struct {
	id, key   string
	delivered int
	nacked    int
	acked     bool
}

func newScripted(roundTrip time.Duration) *scripted {
	return &scripted{roundTrip: roundTrip, streams: map[string][]*entry{}, closing: make(chan struct{})}
}

func (b *scripted) add(topic string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		b.streams[topic] = append(b.streams[topic], &entry{id: fmt.Sprintf("%s-%d", topic, len(b.streams[topic])+1)})
	}
}

// unacked returns the ids that a restart would deliver again.
func (b *scripted) unacked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for _, entries := range b.streams {
		for _, e := range entries {
			if !e.acked {
				ids = append(ids, e.id)
			}
		}
	}
	return ids
}

func (b *scripted) sum(field func(*entry) int) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, entries := range b.streams {
		for _, e := range entries {
			n += field(e)
		}
	}
	return n
}

func (b *scripted) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

func (b *scripted) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	close(b.closing)
	b.mu.Unlock()
	b.subs.Wait()
	return nil
}

func (b *scripted) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errors.New("subscriber closed")
	}
	out := make(chan *message.Message)
	b.subs.Go(func() {
		defer close(out)
		for {
			e := b.next(ctx, topic)
			if e == nil {
				return
			}
			if b.deaf {
				b.processDeaf(ctx, out, e)
			} else {
				b.process(ctx, out, e)
			}
		}
	})
	return out, nil
}

// next is the blocking read: it gives each entry once, then waits.
func (b *scripted) next(ctx context.Context, topic string) *entry {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.closing:
			return nil
		default:
		}
		b.mu.Lock()
		for _, e := range b.streams[topic] {
			if e.delivered == 0 {
				e.delivered++
				b.mu.Unlock()
				return e
			}
		}
		b.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-b.closing:
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (b *scripted) message(ctx context.Context, e *entry) *message.Message {
	m := message.NewMessage(e.id, message.Payload(e.id))
	m.Metadata.Set("aggregate_id", e.key)
	if !b.noContext {
		m.SetContext(ctx)
	}
	return m
}

func (b *scripted) process(ctx context.Context, out chan<- *message.Message, e *entry) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := b.message(ctx, e)
	for {
		select {
		case out <- m:
		case <-b.closing:
			return
		case <-ctx.Done():
			return
		}
		select {
		case <-m.Acked():
			b.ack(ctx, e)
			return
		case <-m.Nacked():
			b.mu.Lock()
			e.nacked++
			e.delivered++
			b.mu.Unlock()
			m = m.Copy()
		case <-b.closing:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (b *scripted) processDeaf(ctx context.Context, out chan<- *message.Message, e *entry) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := b.message(ctx, e)
	select {
	case out <- m:
	case <-b.closing:
		return
	}
	select {
	case <-m.Acked():
		b.ack(ctx, e)
	case <-m.Nacked():
		b.mu.Lock()
		defer b.mu.Unlock()
		e.nacked++
	case <-b.closing:
	}
}

// ack is the round trip of an XACK: lost when the context ends before it is
// through, or when the client is closed.
func (b *scripted) ack(ctx context.Context, e *entry) {
	select {
	case <-ctx.Done():
		return
	case <-b.closing:
		return
	case <-time.After(b.roundTrip):
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.acked = true
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// within fails the test when the channel is not closed or filled in time.
func within[T any](t *testing.T, limit time.Duration, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(limit):
		t.Fatalf("timed out after %v waiting for %s", limit, what)
		panic("unreachable")
	}
}
