package rabbitbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/middleware"
)

func newSubscriber(t testing.TB, cfg rabbitbus.SubscriberConfig) *rabbitbus.Subscriber {
	t.Helper()
	if cfg.ConsumerGroup == "" {
		cfg.ConsumerGroup = "g"
	}
	s, err := rabbitbus.NewSubscriber(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = s.Drain(ctx)
	})
	return s
}

// kinds of queues that what does not depend on them is tested with.
var kinds = []rabbitbus.QueueType{rabbitbus.QueueQuorum, rabbitbus.QueueClassic}

func each(t *testing.T, f func(t *testing.T, topology rabbitbus.TopologyConfig)) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f(t, rabbitbus.TopologyConfig{QueueType: kind})
		})
	}
}

func TestSubscriber_OrderByKeyThroughManyLanes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		url := brokers.RabbitMQ(t)
		topic := name(t, url, "lanes")
		const keys, perKey, lanes = 30, 30, 8
		sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url), Topology: topology, Concurrency: lanes, PrefetchCount: 100})
		out := subscribe(t, sub, topic)
		var all []*message.Message
		for n := range perKey {
			for k := range keys {
				all = append(all, msg(fmt.Sprintf("%d/%d", k, n), fmt.Sprint(k)))
			}
		}
		publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, all...)

		var mu sync.Mutex
		seen, busy := map[string][]string{}, map[string]bool{}
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
		if most < 2 || most > lanes {
			t.Errorf("at most %d messages were handled at once, want 2 to %d", most, lanes)
		}
		eventually(t, "all acks are written", func() bool { return sub.Stats().InFlight == 0 && sub.Stats().Acked == keys*perKey })
		if _, err := sub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := ready(t, raw(t, url), topic+".g"); n != 0 {
			t.Errorf("%d messages came back, want none", n)
		}
	})
}

func TestSubscriber_ReceivesNoMoreThanPrefetch(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	topic := name(t, url, "prefetch")
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url), Concurrency: 3, PrefetchCount: 7})
	out := subscribe(t, sub, topic)
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, batch(100, "")...)
	ch := raw(t, url)
	var held []*message.Message
	for range 3 {
		held = append(held, next(t, out))
	}
	none(t, out, 50*time.Millisecond)
	eventually(t, "7 are taken", func() bool { return ready(t, ch, topic+".g") == 93 })
	for i := 3; i < 100; i++ {
		held[0].Ack()
		held = append(held[1:], next(t, out))
		if n := sub.Stats().InFlight; n > 7 {
			t.Fatalf("%d messages are received and unacknowledged, want at most 7", n)
		}
	}
	for _, m := range held {
		m.Ack()
	}
	eventually(t, "nothing is in flight", func() bool { return sub.Stats().InFlight == 0 })
}

func TestSubscriber_NackComesBackAfterAPauseAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	topic := name(t, url, "nack")
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url), NackDelay: 60 * time.Millisecond})
	out := subscribe(t, sub, topic)
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, msg("1", "k"), msg("2", "k"))
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
	if m = next(t, out); m.UUID != "2" {
		t.Errorf("%s came, want 2", m.UUID)
	}
	m.Ack()
}

func TestSubscriber_ContextOutlivesSubscribeAndEndsWithTheMessage(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	topic := name(t, url, "ctx")
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url)})
	out, err := sub.Subscribe(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, msg("1", "k"))
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
	if d.System != "rabbitmq" || d.Topic != topic || d.Group != "g" || d.Key != "k" || d.Count != 1 || d.ID != "1" || d.Malformed != nil {
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
	if n := ready(t, raw(t, url), topic+".g"); n != 0 {
		t.Errorf("%d messages after the channel was closed, want the ack sent before", n)
	}
}

func TestSubscriber_DrainHandsBackWhatIsNotFinished(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) { drainHandsBack(t, rabbitbus.TopologyConfig{QueueType: kind}) })
	}
}

func drainHandsBack(t *testing.T, topology rabbitbus.TopologyConfig) {
	t.Helper()
	leaktest.Check(t)
	url := brokers.RabbitMQ(t)
	topic := name(t, url, "drain")
	client := connect(t, url)
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: client, Topology: topology, Concurrency: 2, PrefetchCount: 20})
	out := subscribe(t, sub, topic)
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, batch(10, "")...)
	var handled []string
	for range 4 {
		m := next(t, out)
		handled = append(handled, m.UUID)
		m.Ack()
	}
	finishing, stuck := next(t, out), next(t, out)
	eventually(t, "the rest has arrived", func() bool { s := sub.Stats(); return s.InFlight == 6 && s.Acked == 4 })
	drained := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	go func() {
		report, err := sub.Drain(ctx)
		if report.Finished != 1 || report.HandedBack != 5 {
			t.Errorf("report %+v, want 1 finished and 5 handed back", report)
		}
		drained <- err
	}()
	<-time.After(20 * time.Millisecond)
	if finishing.Context().Err() != nil {
		t.Error("the context ended before the deadline")
	}
	finishing.Ack()
	handled = append(handled, finishing.UUID)
	<-stuck.Context().Done()
	if err := <-drained; err == nil {
		t.Error("no error although a handler outlived the deadline")
	}
	again := newSubscriber(t, rabbitbus.SubscriberConfig{Client: client, Topology: topology})
	out = subscribe(t, again, topic)
	var rest []string
	for range 5 {
		m := next(t, out)
		rest = append(rest, m.UUID)
		m.Ack()
	}
	none(t, out, 50*time.Millisecond)
	if got := slices.Sorted(slices.Values(append(handled, rest...))); len(slices.Compact(got)) != 10 {
		t.Errorf("handled %v then %v, want each once", handled, rest)
	}
	if !slices.IsSorted(rest) {
		t.Errorf("handed back in the order %v, want it kept", rest)
	}
}

func TestSubscriber_IdleStopsAtOnce(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url)})
	subscribe(t, sub, name(t, url, "idle"))
	report, err := sub.Drain(t.Context())
	if err != nil || report.Finished+report.HandedBack != 0 || report.Duration > 2*time.Second {
		t.Errorf("drain of an idle subscriber: %+v, %v", report, err)
	}
	if report, err = sub.Drain(t.Context()); err != nil || report.Duration != 0 {
		t.Errorf("second drain: %+v, %v", report, err)
	}
	if _, err := sub.Subscribe(t.Context(), "late"); !errors.Is(err, rabbitbus.ErrClosed) {
		t.Errorf("subscribe after close: %v, want ErrClosed", err)
	}
}

func TestSubscriber_WorkersOfAGroupShareAndGroupsGetAll(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	topic := name(t, url, "share")
	var outs []<-chan *message.Message
	for _, group := range []string{"g", "g", "other"} {
		outs = append(outs, subscribe(t, newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url), ConsumerGroup: group, PrefetchCount: 1}), topic))
	}
	const total = 100
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, batch(total, "")...)
	var ids [3][]string
	for n := range 2 * total {
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
	both := slices.Sorted(slices.Values(slices.Concat(ids[0], ids[1])))
	if len(slices.Compact(both)) != total || len(ids[2]) != total {
		t.Errorf("group g got %d different ones of %d, the other group %d", len(slices.Compact(both)), total, len(ids[2]))
	}
	if len(ids[0]) == 0 || len(ids[1]) == 0 {
		t.Errorf("shares of group g: %d and %d, want both some", len(ids[0]), len(ids[1]))
	}
}

func TestSubscriber_SingleActiveConsumer(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	topic := name(t, url, "single")
	topology := rabbitbus.TopologyConfig{SingleActiveConsumer: true}
	one := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url), Topology: topology, PrefetchCount: 1})
	first := subscribe(t, one, topic)
	second := subscribe(t, newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, url), Topology: topology, PrefetchCount: 1}), topic)
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, batch(3, "")...)
	next(t, first).Ack()
	next(t, first).Ack()
	none(t, second, 50*time.Millisecond)
	held := next(t, first)
	none(t, second, 50*time.Millisecond)
	held.Ack()
	if _, err := one.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, msg("after", ""))
	next(t, second).Ack()
}
