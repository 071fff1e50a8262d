package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/middleware"
)

// die reads count entries as a consumer that then dies: it neither handles nor
// acknowledges them.
func die(t *testing.T, client *redis.Client, stream, consumer string, count int) []string {
	t.Helper()
	read, err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{
		Group: "g", Consumer: consumer, Streams: []string{stream, ">"}, Count: int64(count), Block: -1,
	}).Result()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range read[0].Messages {
		ids = append(ids, m.ID)
	}
	if len(ids) != count {
		t.Fatalf("read %d entries, want %d", len(ids), count)
	}
	return ids
}

// deliveries sets how often pending entries were delivered, and lets them look
// idle for as long.
func deliveries(t *testing.T, client *redis.Client, stream, consumer string, count int, idle time.Duration, ids ...string) {
	t.Helper()
	args := []any{"xclaim", stream, "g", consumer, 0}
	for _, id := range ids {
		args = append(args, id)
	}
	if err := client.Do(t.Context(), append(args, "idle", idle.Milliseconds(), "retrycount", count, "justid")...).Err(); err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, client *redis.Client, n int) string {
	t.Helper()
	stream := name("recover")
	batch := make([]*message.Message, n)
	for i := range batch {
		batch[i] = msg(fmt.Sprint(i), fmt.Sprint("key", i))
	}
	if n > 0 {
		publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, batch...)
	}
	if err := client.XGroupCreateMkStream(t.Context(), stream, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestRecovery_OwnUnfinishedEntriesComeFirstAfterARestart(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 30)
	die(t, client, stream, "me", 10)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, ConsumerName: "me", BatchSize: 4})
	out := subscribe(t, sub, stream)

	for i := range 30 {
		m := next(t, out)
		want := 1
		if i < 10 {
			want = 2
		}
		if d := middleware.DeliveryFrom(m.Context()); m.UUID != fmt.Sprint(i) || d.Count != want {
			t.Fatalf("message %d is %s, delivery %d; want the order of the stream and delivery %d", i, m.UUID, d.Count, want)
		}
		m.Ack()
	}
}

func TestRecovery_DeadConsumersEntriesAreClaimedWithoutDelayingNewOnes(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 300)
	began := time.Now()
	ids := die(t, client, stream, "dead", 300)
	const idle = 3 * time.Second
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{
		Client: client, ConsumerName: "alive", PendingIdleTime: idle, BatchSize: 20, Concurrency: 4,
	}), stream)
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, stream, msg("new", "new"))
	first := next(t, out)
	if first.UUID != "new" {
		t.Errorf("%s came, want the new one before those of the dead", first.UUID)
	}
	first.Ack()
	for n := 0; n < len(ids); n++ {
		m := next(t, out)
		if n == 0 && time.Since(began) < idle {
			t.Errorf("an entry was claimed after %v", time.Since(began))
		}
		if n == 10 { // in the middle of the recovery of 300
			publish(t, pub, stream, msg("newer", "new"))
		}
		if m.UUID == "newer" {
			if n > 10+4*20+20 {
				t.Errorf("the new one came behind %d of the dead's entries", n-10)
			}
			n--
		}
		m.Ack()
	}
	eventually(t, "nothing is pending", func() bool { return pendingOf(t, client, stream, "g") == 0 })
}

func TestRecovery_SlowLiveHandlersEntriesAreNeverTaken(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 3)
	cfg := redisbus.SubscriberConfig{Client: client, PendingIdleTime: time.Second}
	out := subscribe(t, newSubscriber(t, cfg), stream)
	m := next(t, out)
	eventually(t, "the two others wait in the lanes", func() bool { return pendingOf(t, client, stream, "g") == 3 })
	other := newSubscriber(t, cfg)
	none(t, subscribe(t, other, stream), 4*time.Second)
	if n := other.Stats().Claimed; n != 0 {
		t.Errorf("the other one claimed %d", n)
	}
	m.Ack()
	for range 2 {
		m := next(t, out)
		if d := middleware.DeliveryFrom(m.Context()); d.Count != 1 {
			t.Errorf("delivery %d, want a heartbeat to count none", d.Count)
		}
		m.Ack()
	}
}

// A process that was suspended finds its entries with others when it wakes up:
// it must not take them back.
func TestRecovery_HeartbeatTakesNothingBack(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 2)
	log := &lines{}
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, PendingIdleTime: 150 * time.Millisecond, Logger: slog.New(log), ConsumerName: "zombie"})
	out := subscribe(t, sub, stream)
	m := next(t, out)
	id := middleware.DeliveryFrom(m.Context()).ID
	if err := client.XClaim(t.Context(), &redis.XClaimArgs{Stream: stream, Group: "g", Consumer: "heir", Messages: []string{id}}).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is noticed", func() bool { return sub.Stats().TakenOver == 1 })
	none(t, out, 200*time.Millisecond) // several heartbeats
	rows, err := client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: stream, Group: "g", Start: id, End: id, Count: 1}).Result()
	if err != nil || len(rows) != 1 || rows[0].Consumer != "heir" {
		t.Errorf("the entry is with %+v, %v, want the heir", rows, err)
	}
	if said := log.Above(slog.LevelWarn); len(said) != 1 {
		t.Errorf("it said %q, want one line", said)
	}
	// At the drain it hands back its own, and leaves the heir's alone.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _ = sub.Drain(ctx)
	rows, err = client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: stream, Group: "g", Start: "-", End: "+", Count: 9}).Result()
	if err != nil || len(rows) != 2 || rows[0].Consumer != "heir" || rows[0].Idle > time.Minute || rows[1].Consumer != "zombie" || rows[1].Idle < time.Minute {
		t.Errorf("after the drain: %+v, %v, want only the zombie's own to look idle", rows, err)
	}
}

func TestRecoverPending_CountsAreTrue(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 25)
	ids := die(t, client, stream, "dead", 20)
	deliveries(t, client, stream, "dead", 1, time.Minute, ids[:12]...)
	deliveries(t, client, stream, "dead", 3, time.Minute, ids[12:15]...)
	letters := &store{}
	sub := newSubscriber(t, redisbus.SubscriberConfig{
		Client: client, DeadLetters: letters, PendingIdleTime: time.Hour, NackDelay: 10 * time.Millisecond, BatchSize: 5,
	})
	if _, err := sub.RecoverPending(t.Context(), stream, 0, 0); !errors.Is(err, redisbus.ErrNotSubscribed) {
		t.Errorf("without a subscription: %v", err)
	}
	out := subscribe(t, sub, stream)
	for range 5 {
		next(t, out).Ack() // the new ones
	}
	var handled sync.WaitGroup
	handled.Go(func() {
		failed := false
		for n := 0; n < 13; n++ {
			m := next(t, out)
			if m.UUID == "3" && !failed {
				failed = true
				m.Nack()
				continue
			}
			m.Ack()
		}
	})
	got, err := sub.RecoverPending(t.Context(), stream, 30*time.Second, 3)
	handled.Wait()

	if want := (redisbus.Recovery{Checked: 15, Claimed: 15, Reprocessed: 11, Failed: 1, DLQ: 3}); err != nil || got != want {
		t.Errorf("recovery %+v, %v, want %+v", got, err, want)
	}
	if n := len(letters.buried()); n != 3 {
		t.Errorf("%d letters, want 3", n)
	}
	// Zero values are honoured: whatever the idle time, and everything is buried.
	got, err = sub.RecoverPending(t.Context(), stream, 0, 0)
	if want := (redisbus.Recovery{Checked: 5, Claimed: 5, DLQ: 5}); err != nil || got != want {
		t.Errorf("recovery of all: %+v, %v, want %+v", got, err, want)
	}
	got, err = sub.RecoverPending(t.Context(), stream, 0, 0)
	if err != nil || got != (redisbus.Recovery{}) {
		t.Errorf("recovery of nothing: %+v, %v", got, err)
	}
}

func TestRecoverPending_EndsWithItsContext(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 1)
	die(t, client, stream, "dead", 1)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, stream)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	got, err := sub.RecoverPending(ctx, stream, 0, -1)
	if !errors.Is(err, context.DeadlineExceeded) || got.Claimed != 1 || got.Reprocessed != 0 {
		t.Errorf("recovery %+v, %v, want what is known and the context's error", got, err)
	}
	next(t, out).Ack()
}

func TestRecovery_PendingEntriesThatAreGoneAreCounted(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 3)
	ids := die(t, client, stream, "dead", 3)
	deliveries(t, client, stream, "dead", 1, time.Hour, ids...)
	client.XDel(t.Context(), stream, ids[0], ids[2])
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, stream)
	m := next(t, out)
	if m.UUID != "1" {
		t.Errorf("%s came, want the one that is left", m.UUID)
	}
	m.Ack()
	eventually(t, "nothing is pending", func() bool { return pendingOf(t, client, stream, "g") == 0 })
	if n := sub.Stats().Lost; n != 2 {
		t.Errorf("%d counted as lost, want 2", n)
	}
}

func deliveryCount(m *message.Message) int { return middleware.DeliveryFrom(m.Context()).Count }
