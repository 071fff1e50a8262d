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

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/middleware"
)

func TestSubscriber_OrderByKeyThroughManyLanes(t *testing.T) {
	client := shared(t)
	stream := name("order")
	const keys, perKey, lanes = 5, 300, 8 // fewer keys than lanes: they do meet
	var batch []*message.Message
	for n := range perKey {
		for k := range keys {
			batch = append(batch, msg(fmt.Sprintf("%d/%d", k, n), fmt.Sprint(k)))
		}
	}
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, batch...)
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client, Concurrency: lanes}), stream)

	var mu sync.Mutex
	seen := map[string][]string{}
	busy := map[string]bool{}
	open, most := 0, 0
	var handled sync.WaitGroup
	for range keys * perKey {
		m := next(t, out)
		key := m.Metadata["aggregate_id"]
		mu.Lock()
		if busy[key] {
			t.Errorf("two messages of key %s at once", key)
		}
		busy[key] = true
		seen[key] = append(seen[key], m.UUID)
		open++
		most = max(most, open)
		mu.Unlock()
		handled.Go(func() {
			<-time.After(200 * time.Microsecond)
			mu.Lock()
			busy[key] = false
			open--
			mu.Unlock()
			m.Ack()
		})
	}
	handled.Wait()
	for key, ids := range seen {
		for n, id := range ids {
			if want := fmt.Sprintf("%s/%d", key, n); id != want {
				t.Fatalf("key %s: message %d is %s, want %s", key, n, id, want)
			}
		}
	}
	if most < 2 || most > keys {
		t.Errorf("at most %d messages were handled at once, want 2 to %d", most, keys)
	}
	eventually(t, "all acks are with the server", func() bool { return pendingOf(t, client, stream, "g") == 0 })
}

func TestSubscriber_ReadsNoMoreThanMaxInFlight(t *testing.T) {
	client := shared(t)
	stream := name("bound")
	batch := make([]*message.Message, 100)
	for i := range batch {
		batch[i] = msg(fmt.Sprint(i), fmt.Sprint(i))
	}
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, batch...)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, Concurrency: 3, MaxInFlight: 7})
	out := subscribe(t, sub, stream)

	var held []*message.Message
	for range 3 {
		held = append(held, next(t, out))
	}
	none(t, out, 50*time.Millisecond)
	if n := pendingOf(t, client, stream, "g"); n != 7 {
		t.Errorf("%d entries are read and unacknowledged, want 7", n)
	}
	for i := 3; i < len(batch); i++ {
		held[0].Ack()
		held = append(held[1:], next(t, out))
		if n := pendingOf(t, client, stream, "g"); n > 7 {
			t.Fatalf("%d entries are read and unacknowledged, want at most 7", n)
		}
	}
	for _, m := range held {
		m.Ack()
	}
	eventually(t, "nothing is in flight", func() bool { return sub.Stats().InFlight == 0 })
}

func TestSubscriber_AcksTravelTogetherAndNoneWaitsLong(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	client := connect(t, server.URL())
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	batch := make([]*message.Message, 1037) // not a multiple of the batch
	for i := range batch {
		batch[i] = msg(fmt.Sprint(i), "")
	}
	publish(t, pub, "s", batch...)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, AckDelay: time.Hour})
	out := subscribe(t, sub, "s")
	for range batch {
		next(t, out).Ack()
	}
	// An AckDelay of an hour, and yet: with nothing left to handle nothing waits.
	eventually(t, "all acks are with the server", func() bool { return pendingOf(t, client, "s", "g") == 0 })
	if calls := stat(t, client, "commandstats", "cmdstat_xack"); calls > 100 {
		t.Errorf("%d XACKs for 1037 messages, want them together", calls)
	}

	delayed := newSubscriber(t, redisbus.SubscriberConfig{Client: client, ConsumerGroup: "delayed", Concurrency: 2, AckDelay: 20 * time.Millisecond})
	publish(t, pub, "d", msg("slow", "a"), msg("fast", "b"))
	out = subscribe(t, delayed, "d")
	slow, fast := next(t, out), next(t, out)
	fast.Ack() // while the other one still runs
	eventually(t, "the ack is sent after its delay", func() bool { return pendingOf(t, client, "d", "delayed") == 1 })
	slow.Ack()
}

func TestSubscriber_NackComesBackAfterAPauseAndKeepsTheOrder(t *testing.T) {
	client := shared(t)
	stream := name("nack")
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("1", "k"), msg("2", "k"))
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, NackDelay: 60 * time.Millisecond})
	out := subscribe(t, sub, stream)

	began := time.Now()
	for range 3 {
		m := next(t, out)
		if m.UUID != "1" {
			t.Fatalf("%s came, want 1 until it is acked", m.UUID)
		}
		m.Nack()
	}
	m := next(t, out)
	if took := time.Since(began); m.UUID != "1" || took < 180*time.Millisecond {
		t.Errorf("%s came after %v and three nacks, want 1 after three pauses", m.UUID, took)
	}
	m.Ack()
	m = next(t, out)
	if m.UUID != "2" {
		t.Errorf("%s came, want 2", m.UUID)
	}
	m.Ack()
	if n := sub.Stats().Nacked; n != 3 {
		t.Errorf("%d nacks counted, want 3", n)
	}
}

func TestSubscriber_ContextOutlivesSubscribeAndEndsWithTheMessage(t *testing.T) {
	client := shared(t)
	stream := name("ctx")
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("1", "k"))
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, ConsumerName: "me"})
	out, err := sub.Subscribe(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	m := next(t, out)
	cancel()

	select {
	case <-m.Context().Done():
		t.Error("the message's context ended with that of Subscribe")
	case <-time.After(50 * time.Millisecond):
	}
	if m.Context().Value(key{}) != "value" {
		t.Error("the message's context lost the values of that of Subscribe")
	}
	d := middleware.DeliveryFrom(m.Context())
	if d.System != "redis" || d.Topic != stream || d.Group != "g" || d.Key != "k" || d.Count != 1 || d.ID == "" || d.Partition != -1 || d.Offset != -1 {
		t.Errorf("delivery %+v", d)
	}
	m.Ack()
	select {
	case <-m.Context().Done():
	case <-time.After(patience):
		t.Error("the message's context did not end with its ack")
	}
	if _, ok := <-out; ok {
		t.Error("a message came after the end of the context of Subscribe")
	}
	if n := pendingOf(t, client, stream, "g"); n != 0 {
		t.Errorf("%d entries pending after the channel was closed, want its ack sent before", n)
	}
}

// An idle subscriber of default configuration says nothing and asks little, and
// stops at once although its read blocks for seconds.
func TestSubscriber_IdleIsQuietAndStopsAtOnce(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	client := connect(t, server.URL())
	log := &lines{}
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, Logger: slog.New(log)})
	subscribe(t, sub, "s")
	eventually(t, "the reader waits", func() bool { return stat(t, client, "clients", "blocked_clients") == 1 })
	before := stat(t, client, "stats", "total_commands_processed")
	<-time.After(6 * time.Second) // longer than BlockTime
	commands := stat(t, client, "stats", "total_commands_processed") - before - 1

	if commands > 6 {
		t.Errorf("%d commands in 6 seconds, want fewer than one a second", commands)
	}
	began := time.Now()
	report, err := sub.Drain(t.Context())
	if took := time.Since(began); err != nil || took > redisbus.DefaultBlockTime/2 || report.Finished+report.HandedBack != 0 {
		t.Errorf("drain of an idle subscriber: %+v, %v after %v", report, err, took)
	}
	if said := log.Above(slog.LevelInfo); len(said) != 0 {
		t.Errorf("it said %q, want silence", said)
	}
}

func TestSubscriber_GroupsSeeAllAndConsumersShare(t *testing.T) {
	client := shared(t)
	stream := name("share")
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	var outs []<-chan *message.Message
	for _, group := range []string{"a", "a", "b"} {
		outs = append(outs, subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client, ConsumerGroup: group, BatchSize: 5, MaxInFlight: 5}), stream))
	}
	const total = 200
	for i := range total {
		publish(t, pub, stream, msg(fmt.Sprint(i), fmt.Sprint(i)))
	}
	var ids [3][]string
	for n := 0; n < 2*total; n++ {
		var m *message.Message
		var from int
		select {
		case m = <-outs[0]:
		case m = <-outs[1]:
			from = 1
		case m = <-outs[2]:
			from = 2
		case <-time.After(patience):
			t.Fatalf("%d of %d came", n, 2*total)
		}
		ids[from] = append(ids[from], m.UUID)
		m.Ack()
	}
	both := slices.Sorted(slices.Values(append(ids[0], ids[1]...)))
	if len(slices.Compact(both)) != total || len(ids[2]) != total {
		t.Errorf("group a got %d different ones of %d, group b %d", len(slices.Compact(both)), total, len(ids[2]))
	}
	if len(ids[0]) == 0 || len(ids[1]) == 0 {
		t.Errorf("shares of group a: %d and %d, want both some", len(ids[0]), len(ids[1]))
	}
}

// The owner closes the client first: the subscription ends instead of handling
// on what it can never acknowledge.
func TestSubscriber_ClientClosedUnderIt(t *testing.T) {
	leaktest.Check(t)
	client := connect(t, brokers.Redis(t))
	stream := name("closed")
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("1", "k"), msg("2", "k"))
	log := &lines{}
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client, Logger: slog.New(log)}), stream)
	m := next(t, out)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	m.Ack()
	for m := range out { // the second one may have been on its way
		m.Ack()
	}
	if said := log.Above(slog.LevelError); len(said) != 1 {
		t.Errorf("it said %q, want one error", said)
	}
}

// Two subscriptions of one Subscriber to one topic must not take each other's
// entries for unfinished ones.
func TestSubscriber_TwiceToOneTopic(t *testing.T) {
	client := shared(t)
	stream := name("twice")
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, BatchSize: 1, MaxInFlight: 1})
	first := subscribe(t, sub, stream)
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, stream, msg("1", "a"))
	held := next(t, first)
	second := subscribe(t, sub, stream)
	none(t, second, 50*time.Millisecond)
	publish(t, pub, stream, msg("2", "b"))
	other := next(t, second)
	if other.UUID != "2" {
		t.Errorf("the second got %s, want 2", other.UUID)
	}
	held.Ack()
	other.Ack()
}

func TestSubscriber_RefusalsAndClose(t *testing.T) {
	leaktest.Check(t)
	client := shared(t)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client})
	if _, err := sub.Subscribe(t.Context(), ""); err == nil {
		t.Error("an empty topic was taken")
	}
	text := name("text")
	client.Set(t.Context(), text, "x", time.Minute)
	var refused *redisbus.RefusedError
	if _, err := sub.Subscribe(t.Context(), text); !errors.As(err, &refused) || refused.Code != "WRONGTYPE" {
		t.Errorf("subscribe to a string: %v, want WRONGTYPE", err)
	}
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer gone.Close()
	away := newSubscriber(t, redisbus.SubscriberConfig{Client: gone})
	if _, err := away.Subscribe(t.Context(), "s"); err == nil {
		t.Error("subscribed to a server that is not there")
	}
	if err := errors.Join(sub.Close(), sub.Close(), away.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := sub.Subscribe(t.Context(), name("late")); !errors.Is(err, redisbus.ErrClosed) {
		t.Errorf("after close: %v, want ErrClosed", err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client that was given: %v, want it open", err)
	}
}
