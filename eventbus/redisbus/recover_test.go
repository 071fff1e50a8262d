package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
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
	ids := die(t, client, stream, "dead", 300)
	const idle = 300 * time.Millisecond
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{
		Client: client, ConsumerName: "alive", PendingIdleTime: idle, BatchSize: 20, Concurrency: 4,
	}), stream)
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, stream, msg("new", "new"))
	began := time.Now()
	first := next(t, out)
	if first.UUID != "new" || time.Since(began) > idle {
		t.Errorf("%s came after %v, want the new one at once", first.UUID, time.Since(began))
	}
	first.Ack()
	for n := 0; n < len(ids); n++ {
		m := next(t, out)
		if n == 0 && time.Since(began) < idle-100*time.Millisecond {
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
	cfg := redisbus.SubscriberConfig{Client: client, PendingIdleTime: 200 * time.Millisecond}
	out := subscribe(t, newSubscriber(t, cfg), stream)
	m := next(t, out) // the two others wait in the lanes
	other := newSubscriber(t, cfg)
	none(t, subscribe(t, other, stream), 1500*time.Millisecond)
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
	if said := log.above(slog.LevelWarn); len(said) != 1 {
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

// store keeps letters, and fails as often as it is told.
type store struct {
	mu      sync.Mutex
	fail    int
	letters []dlq.Letter
}

func (s *store) Bury(_ context.Context, l dlq.Letter) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail > 0 {
		s.fail--
		return "", errors.New("the store is full")
	}
	s.letters = append(s.letters, l.Clone())
	return fmt.Sprint("letter-", len(s.letters)), nil
}

func (s *store) buried() []dlq.Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.letters)
}

func TestRecovery_EntryThatKillsItsConsumersIsBuried(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 2)
	ids := die(t, client, stream, "dead", 2)
	deliveries(t, client, stream, "dead", 3, time.Hour, ids[0])
	deliveries(t, client, stream, "dead", 2, time.Hour, ids[1])
	letters := &store{fail: 2}
	var dead []dlq.Letter
	sub := newSubscriber(t, redisbus.SubscriberConfig{
		Client: client, MaxDeliveries: 3, DeadLetters: letters, OnDead: func(l dlq.Letter) { dead = append(dead, l) },
	})
	out := subscribe(t, sub, stream)
	m := next(t, out)
	if d := middleware.DeliveryFrom(m.Context()); m.UUID != "1" || d.Count != 3 {
		t.Errorf("%s came as delivery %d, want 1 as its third and last", m.UUID, d.Count)
	}
	m.Ack()
	eventually(t, "nothing is pending", func() bool { return pendingOf(t, client, stream, "g") == 0 })
	none(t, out, 20*time.Millisecond)
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}

	got := letters.buried()
	if len(got) != 1 {
		t.Fatalf("%d letters, want one after two failed tries", len(got))
	}
	l := got[0]
	if l.MessageID != "0" || l.Reason != dlq.ReasonDeliveryLimit || l.Attempts != 3 || l.Key != "key0" || l.Group != "g" ||
		l.Source != (dlq.Source{Topic: stream, Partition: -1, Offset: -1, ID: ids[0]}) || len(l.Handlers) != 0 || l.BuriedAt.IsZero() || len(l.Payload) == 0 {
		t.Errorf("letter %+v", l)
	}
	if len(dead) != 1 || dead[0].ID != "letter-1" || sub.Stats().Buried != 1 {
		t.Errorf("told of %v, counted %d, want the one letter with its id", dead, sub.Stats().Buried)
	}
}

func TestRecovery_WithoutDeadLettersNothingIsBuried(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 1)
	deliveries(t, client, stream, "dead", 99, time.Hour, die(t, client, stream, "dead", 1)...)
	m := next(t, subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client}), stream))
	if d := middleware.DeliveryFrom(m.Context()); d.Count != 100 {
		t.Errorf("delivery %d, want 100", d.Count)
	}
	m.Ack()
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
	if len(open[2]) != 10 || len(open[3]) != 10 || len(open[5]) != 1 {
		t.Errorf("in flight at once: %d of the first, %d of the second, %d of the fourth delivery; want 10, 10, 1", len(open[2]), len(open[3]), len(open[5]))
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
		if len(open[5]) > 1 {
			t.Fatalf("%d prime suspects at once, want one", len(open[5]))
		}
		if total == before && total < 30 {
			collect(patience / 10)
			if total == before {
				t.Fatalf("%d of 30 came", total)
			}
		}
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

func TestLoss_TrimmingThatOvertakesAGroupIsReported(t *testing.T) {
	client := shared(t)
	for _, c := range []struct {
		what         string
		readBefore   int // of 1000, before the trimming to 100
		waitForWatch bool
		want         int64
	}{
		{"while the consumer lives and has read some", 10, true, 890},
		{"while no consumer lives", 10, false, 890},
	} {
		stream := fill(t, client, 1000)
		if !c.waitForWatch {
			ids := die(t, client, stream, "dead", c.readBefore)
			client.XAck(t.Context(), stream, "g", ids...)
			client.XTrimMaxLen(t.Context(), stream, 100)
		}
		sub := newSubscriber(t, redisbus.SubscriberConfig{
			Client: client, BatchSize: c.readBefore, MaxInFlight: c.readBefore, PendingIdleTime: 200 * time.Millisecond,
		})
		out := subscribe(t, sub, stream)
		m := next(t, out)
		if c.waitForWatch {
			client.XTrimMaxLen(t.Context(), stream, 100)
		}
		got := 0
		for {
			m.Ack()
			got++
			if m.UUID == "999" {
				break
			}
			m = next(t, out)
		}
		eventually(t, c.what+": the loss is counted", func() bool { return sub.Stats().Lost == c.want })
		if want := int(1000 - c.want); got != want && got != want-c.readBefore {
			t.Errorf("%s: %d came", c.what, got)
		}
		publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("later", ""))
		next(t, out).Ack()
		none(t, out, 250*time.Millisecond)
		if n := sub.Stats().Lost; n != c.want {
			t.Errorf("%s: %d counted, want the same loss once", c.what, n)
		}
	}
}

func TestLoss_NothingIsReportedWhereNothingIsLost(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 500)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, PendingIdleTime: 100 * time.Millisecond})
	out := subscribe(t, sub, stream)
	for i := range 500 {
		next(t, out).Ack()
		if i == 250 {
			client.XTrimMaxLen(t.Context(), stream, 240) // read ones only
		}
	}
	eventually(t, "nothing is pending", func() bool { return pendingOf(t, client, stream, "g") == 0 })
	client.XTrimMaxLen(t.Context(), stream, 0)
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("later", ""))
	next(t, out).Ack()
	none(t, out, 200*time.Millisecond)
	if n := sub.Stats().Lost; n != 0 {
		t.Errorf("%d counted as lost, want none", n)
	}
}

func deliveryCount(m *message.Message) int { return middleware.DeliveryFrom(m.Context()).Count }
