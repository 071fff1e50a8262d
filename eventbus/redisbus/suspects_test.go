package redisbus_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/middleware"
)

// After a second death no more are taken than are handled at once: the rest
// stays with the dead, where another process may take it.
func TestRecovery_SuspectsAreClaimedAsManyAsWorkers(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 20)
	deliveries(t, client, stream, "dead", 2, time.Hour, die(t, client, stream, "dead", 20)...)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, Concurrency: 4, ConsumerName: "me", PendingIdleTime: 100 * time.Millisecond})
	out := subscribe(t, sub, stream)
	var held []*message.Message
	for range 4 {
		held = append(held, next(t, out))
	}
	none(t, out, 200*time.Millisecond)
	if n := sub.Stats().InFlight; n != 4 {
		t.Errorf("%d claimed, want 4", n)
	}
	for _, m := range held {
		m.Ack()
	}
	for range 16 {
		next(t, out).Ack()
	}
}

// A page full of suspects hides nobody behind it.
func TestRecovery_SuspectsHideNobody(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 40)
	ids := die(t, client, stream, "dead", 40)
	deliveries(t, client, stream, "dead", 4, time.Hour, ids[:30]...)
	deliveries(t, client, stream, "dead", 1, time.Hour, ids[30:]...)
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client, BatchSize: 10, MaxInFlight: 40, Concurrency: 20, PendingIdleTime: 100 * time.Millisecond}), stream)
	var held []*message.Message
	suspects := 0
	for range 11 {
		m := next(t, out)
		if deliveryCount(m) == 5 {
			suspects++
		}
		held = append(held, m)
	}
	if suspects != 1 {
		t.Errorf("%d suspects in flight, want one beside the ten others", suspects)
	}
	for _, m := range held {
		m.Ack()
	}
	for range 29 {
		next(t, out).Ack()
	}
}

// Innocents that were in flight with a killer must not be buried with it: the
// oftener they were there, the fewer are taken up at once.
func TestRecovery_SuspectsAreHandledApart(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 30)
	ids := die(t, client, stream, "dead", 30)
	deliveries(t, client, stream, "dead", 1, time.Hour, ids[:10]...)
	deliveries(t, client, stream, "dead", 2, time.Hour, ids[10:20]...)
	deliveries(t, client, stream, "dead", 4, time.Hour, ids[20:]...)
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client, Concurrency: 30, PendingIdleTime: 100 * time.Millisecond}), stream)

	open := map[int][]*message.Message{}
	total := 0
	collect := func(within time.Duration) {
		for {
			select {
			case m := <-out:
				total++
				c := middleware.DeliveryFrom(m.Context()).Count
				open[c] = append(open[c], m)
			case <-time.After(within):
				return
			}
		}
	}
	collect(300 * time.Millisecond)
	if len(open[2]) != 10 || len(open[3]) != 10 || len(open[5]) != 0 {
		t.Errorf("in flight at once: %d of the first, %d of the second, %d of the fourth delivery; want 10, 10, 0", len(open[2]), len(open[3]), len(open[5]))
	}
	for total < 30 || len(open[2])+len(open[3])+len(open[5]) > 0 {
		for c, ms := range open {
			for _, m := range ms {
				m.Ack()
			}
			delete(open, c)
		}
		before := total
		collect(150 * time.Millisecond)
		if len(open[5]) > 1 || len(open[5]) == 1 && len(open[3]) > 0 {
			t.Fatalf("%d prime suspects at once beside %d others, want one alone", len(open[5]), len(open[3]))
		}
		if total == before && total < 30 {
			collect(patience / 10)
			if total == before {
				t.Fatalf("%d of 30 came", total)
			}
		}
	}
}

// An innocent suspect is acknowledged before the next one has its turn, which may
// be the killer: it would be counted as its victim, again and again.
func TestRecovery_ASuspectIsAcknowledgedBeforeTheNext(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 3)
	ids := die(t, client, stream, "dead", 3)
	deliveries(t, client, stream, "dead", 1, time.Hour, ids[0])
	deliveries(t, client, stream, "dead", 3, time.Hour, ids[1:]...)
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{
		Client: client, Concurrency: 3, PendingIdleTime: 100 * time.Millisecond, AckDelay: 300 * time.Millisecond,
	}), stream)
	var other, first *message.Message
	for range 2 { // another one keeps the consumer busy, so that acks wait for company
		if m := next(t, out); deliveryCount(m) == 2 {
			other = m
		} else {
			first = m
		}
	}
	first.Ack()
	second := next(t, out)
	left, err := client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: stream, Group: "g", Start: "-", End: "+", Count: 9}).Result()
	if err != nil || len(left) != 2 {
		t.Errorf("pending when the second suspect is handled: %v, %v; want itself and one that is still handled", left, err)
	}
	second.Ack()
	other.Ack()
}

// With few deliveries allowed, suspects are handled alone in time: one more death
// would bury all that are handled together.
func TestRecovery_SuspectsAreAloneBeforeTheLastDelivery(t *testing.T) {
	for most, before := range map[int]int{2: 1, 3: 2} {
		client := shared(t)
		stream := fill(t, client, 4)
		ids := die(t, client, stream, "dead", 4)
		deliveries(t, client, stream, "dead", before, time.Hour, ids...)
		store, err := redisbus.NewStore(redisbus.StoreConfig{Client: client, Stream: stream + "_dlq"})
		if err != nil {
			t.Fatal(err)
		}
		out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{
			Client: client, Concurrency: 4, PendingIdleTime: 100 * time.Millisecond, MaxDeliveries: most, DeadLetters: store,
		}), stream)
		for range 3 {
			m := next(t, out)
			none(t, out, 100*time.Millisecond)
			m.Ack()
		}
		next(t, out).Ack()
	}
}
