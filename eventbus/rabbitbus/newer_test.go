package rabbitbus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/middleware"
)

// Brokers since 4.3 refuse queues that are transient and not exclusive, with an
// error that closes the connection.
func TestNewer_TransientQueueIsRefused(t *testing.T) {
	t.Parallel()
	f := startFake(t, func(c *fakeConn, _ uint16, m string, args []byte) bool {
		const durable = 2
		if m != "queue.declare" || args[3+int(args[2])]&durable != 0 {
			return false
		}
		c.say(0, 10, 50, []byte{541 >> 8, 541 & 255}, short("INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated."), []byte{0, 50, 0, 10})
		return true
	})
	_, err := rabbitbus.Open(t.Context(), rabbitbus.Config{URL: f.url, ExchangeName: "fake", Transient: true, Registry: eventbus.NewRegistry()})
	var topology *rabbitbus.TopologyError
	var refused *rabbitbus.RefusedError
	if !errors.As(err, &topology) || topology.Kind != "queue" || topology.Name != "fake.default" || !errors.As(err, &refused) || refused.Code != 541 {
		t.Errorf("%v, want a TopologyError that names the queue, with code 541", err)
	}
	bus, err := rabbitbus.Open(t.Context(), rabbitbus.Config{URL: f.url, ExchangeName: "fake", Registry: eventbus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// Brokers since 4.0 give every quorum queue a limit of 20 deliveries, and drop
// what is over it where there is no dead letter exchange. Ours is said aloud,
// the same whatever the broker's default is, and letters have none to speak of:
// to be listed is to be delivered.
func TestNewer_DeliveryLimitIsDeclared(t *testing.T) {
	t.Parallel()
	f := startFake(t, nil)
	bus, err := rabbitbus.Open(t.Context(), rabbitbus.Config{URL: f.url, ExchangeName: "fake", ConsumerGroup: "g", Registry: eventbus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = bus.Shutdown(context.Background()) }()
	name := short("x-delivery-limit")
	for queue, limit := range map[string][]byte{
		"fake.g":     binary.BigEndian.AppendUint64(append(name, 'l'), rabbitbus.DefaultDeliveryLimit),
		"fake.g.dlq": binary.BigEndian.AppendUint32(append(slices.Clone(name), 'I'), 1_000_000_000),
	} {
		if !bytes.Contains(f.declared(queue), limit) {
			t.Errorf("%s is declared as %q, want %q", queue, f.declared(queue), limit)
		}
	}
	if !bytes.Contains(f.declared("fake.g"), append(short("x-dead-letter-exchange"), append([]byte{'S'}, long("fake_dlq")...)...)) {
		t.Errorf("fake.g is declared as %q, want a dead letter exchange", f.declared("fake.g"))
	}
}

// buried is where letters go.
type buried struct {
	mu  sync.Mutex
	ids []string
}

func (b *buried) Bury(_ context.Context, l dlq.Letter) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ids = append(b.ids, l.MessageID)
	return l.MessageID, nil
}

// Since 4.3 a message that is handed back is not counted as a delivery that
// failed: x-delivery-count is the crashes alone, and x-acquired-count how often
// somebody had it. Only the former buries.
func TestNewer_WhatIsHandedBackDoesNotCount(t *testing.T) {
	t.Parallel()
	f := startFake(t, func(c *fakeConn, channel uint16, m string, args []byte) bool {
		if m != "basic.consume" {
			return false
		}
		c.agree(channel, m, args)
		tag := consumerTag(args)
		c.deliver(channel, tag, "often handed back", true, "x-acquired-count", 40)
		c.deliver(channel, tag, "failed once", true, "x-acquired-count", 40, "x-delivery-count", 1)
		c.deliver(channel, tag, "failed too often", true, "x-acquired-count", 40, "x-delivery-count", 10)
		c.deliver(channel, tag, "first time", false)
		c.deliver(channel, tag, "of a classic queue", true)
		return true
	})
	letters := &buried{}
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, f.url), DeadLetters: letters, MaxDeliveries: 10, PrefetchCount: 10})
	out := subscribe(t, sub, "fake")
	for _, want := range []struct {
		id    string
		count int
	}{{"often handed back", 1}, {"failed once", 2}, {"first time", 1}, {"of a classic queue", 0}} {
		m := next(t, out)
		if d := middleware.DeliveryFrom(m.Context()); m.UUID != want.id || d.Count != want.count {
			t.Errorf("%q came, count %d, want %+v", m.UUID, d.Count, want)
		}
		m.Ack()
	}
	eventually(t, "all is acknowledged", func() bool { return sub.Stats().InFlight == 0 })
	letters.mu.Lock()
	defer letters.mu.Unlock()
	if !slices.Equal(letters.ids, []string{"failed too often"}) {
		t.Errorf("buried %v, want what failed ten times", letters.ids)
	}
}

// Since 4.3 an acknowledgement that takes too long cancels the consumer, and its
// messages go back to the queue. The consumer is made anew; what its handler
// finishes meanwhile is acknowledged when it comes again, on the new channel, and
// does not run again.
func TestNewer_AckTimeoutCancelsTheConsumer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var consumers []func(event string, again bool)
	cancel := func() {}
	f := startFake(t, func(c *fakeConn, channel uint16, m string, args []byte) bool {
		if m != "basic.consume" {
			return false
		}
		c.agree(channel, m, args)
		tag := consumerTag(args)
		mu.Lock()
		defer mu.Unlock()
		consumers = append(consumers, func(event string, again bool) {
			c.deliver(channel, tag, event, again, "x-acquired-count", len(consumers))
		})
		cancel = func() { c.say(channel, 60, 30, short(tag), []byte{1}) }
		return true
	})
	session := func(n int) func(string, bool) {
		eventually(t, "it consumes", func() bool { mu.Lock(); defer mu.Unlock(); return len(consumers) == n })
		mu.Lock()
		defer mu.Unlock()
		return consumers[n-1]
	}
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, f.url), Concurrency: 2})
	out := subscribe(t, sub, "fake")
	session(1)("slow", false)
	slow := next(t, out)
	mu.Lock()
	cancel()
	mu.Unlock()
	deliver := session(2)
	slow.Ack() // late
	eventually(t, "it is known to be late", func() bool { return sub.Stats().Voided == 1 })
	deliver("slow", true)
	deliver("other", false)
	other := next(t, out)
	if other.UUID != "other" {
		t.Errorf("%q came, want what was not finished", other.UUID)
	}
	other.Ack()
	eventually(t, "both are acknowledged", func() bool { return sub.Stats().InFlight == 0 && sub.Stats().Repeated == 1 })
	if s := sub.Stats(); s.Reconnections != 1 || s.Acked != 2 {
		t.Errorf("%+v, want one consumer made anew, and two acks", s)
	}
	if n := f.count("basic.ack 1"); n != 0 {
		t.Errorf("%d late acks reached the broker, want none: their tag means nothing any more", n)
	}
}
