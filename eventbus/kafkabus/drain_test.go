package kafkabus_test

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
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/router"
)

func committed(t testing.TB, topic, group string) int64 {
	t.Helper()
	client := shared(t)
	defer client.Close() // it is asked again and again
	offsets, err := kadm.NewClient(client).FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == topic && o.At > 0 {
			sum += o.At
		}
	})
	return sum
}

// What is finished behind something unfinished could not be committed: a drain
// handles the gap, and hands back only what is behind.
func TestDrain_NothingFinishedIsRepeated(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := name("gap"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	// a1 is held; a2 waits behind it; b1, c1 are finished; a3 is behind all.
	for _, id := range []string{"a1", "a2", "b1", "c1", "a3"} {
		publish(t, pub, topic, msg(id, id[:1]))
	}
	log := &lines{}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, Concurrency: 2, Logger: slog.New(log)})
	out := subscribe(t, sub, topic)
	held := next(t, out)
	for range 2 {
		next(t, out).Ack()
	}
	eventually(t, "b1 and c1 are finished", func() bool { return sub.Stats().Acked == 2 })

	type result struct {
		report router.Report
		err    error
	}
	drained := make(chan result, 1)
	go func() {
		r, err := sub.Drain(context.Background())
		drained <- result{r, err}
	}()
	eventually(t, "the drain has begun", func() bool { return slices.Contains(log.All(), "DEBUG drain began") })
	if held.UUID != "a1" {
		t.Fatalf("first is %s", held.UUID)
	}
	held.Ack()
	second := next(t, out)
	if second.UUID != "a2" || second.Context().Err() != nil {
		t.Fatalf("in the gap is %s, context %v; want a2, live", second.UUID, second.Context().Err())
	}
	second.Ack()
	r := <-drained
	if r.err != nil || r.report.Finished != 2 || r.report.HandedBack != 1 {
		t.Errorf("drain: %+v, %v; want a1 and a2 finished, a3 handed back", r.report, r.err)
	}
	if at := committed(t, topic, group); at != 4 {
		t.Errorf("committed %d, want what is finished: 4", at)
	}

	again := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group})
	rest := next(t, subscribe(t, again, topic))
	if rest.UUID != "a3" {
		t.Errorf("after the restart comes %s, want a3", rest.UUID)
	}
	rest.Ack()
}

func TestDrain_PastTheDeadlineContextsEndWithACause(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := name("late"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client})
	publish(t, pub, topic, msg("a", "k"))
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group})
	m := next(t, subscribe(t, sub, topic))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	report, err := sub.Drain(ctx)
	if !errors.Is(err, router.ErrDrainDeadline) || report.HandedBack != 1 {
		t.Errorf("drain: %+v, %v; want the deadline and one handed back", report, err)
	}
	if c := context.Cause(m.Context()); !errors.Is(c, router.ErrDrainDeadline) {
		t.Errorf("the handler's context ended with %v", c)
	}
	m.Ack() // too late, and harmless
	again := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group})
	if m := next(t, subscribe(t, again, topic)); m.UUID != "a" {
		t.Errorf("redelivered %s", m.UUID)
	} else {
		m.Ack()
	}
}

// A partition moves while its handler runs: the handler's context ends with a
// cause, what was finished is committed, and the other member gets the rest.
func TestRebalance_HandlersOfAMovedPartitionAreCancelled(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := name("move"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 2}})
	for i := range 20 {
		publish(t, pub, topic, msg(fmt.Sprint("m", i), fmt.Sprint("k", i)))
	}
	cfg := kafkabus.SubscriberConfig{
		Client: client, ConsumerGroup: group, Concurrency: 20, RevokeTimeout: 100 * time.Millisecond,
	}
	one := newSubscriber(t, cfg)
	out := subscribe(t, one, topic)
	first := map[string]context.Context{}
	for range 20 {
		m := next(t, out)
		first[m.UUID] = m.Context() // never acked
	}
	two := newSubscriber(t, cfg)
	moved := subscribe(t, two, topic)
	m := next(t, moved)
	if c := context.Cause(first[m.UUID]); !errors.Is(c, kafkabus.ErrPartitionLost) {
		t.Errorf("%s came to the second member while the first one's context has the cause %v", m.UUID, c)
	}
	m.Ack()
	live := 0
	for _, ctx := range first {
		if ctx.Err() == nil {
			live++
		}
	}
	if live == 0 || live == 20 {
		t.Errorf("%d of 20 handlers of the first member are live, want those of the partition that stayed", live)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _ = one.Drain(ctx)
}

// A key that is stuck behind a fast producer takes no more memory than
// configured; another partition goes on.
func TestSubscriber_AStuckKeyPausesItsPartitionOnly(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic := name("stuck")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	publish(t, pub, topic, msg("stuck", "abc")) // partition 3
	for range 20 {
		publish(t, pub, topic, batch(100)...)
	}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, Concurrency: 8, MaxInFlight: 100, NackDelay: time.Millisecond})
	out := subscribe(t, sub, topic)
	other := 0
	for other < 500 || sub.Stats().Pauses == 0 { // the stuck one comes again and again
		m := next(t, out)
		if m.UUID == "stuck" {
			m.Nack()
			continue
		}
		other++
		m.Ack()
		if n := sub.Stats().InFlight; n > 4*100 {
			t.Fatalf("%d records are in flight, want at most 100 a partition", n)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _ = sub.Drain(ctx)
}

// Members leave while their handlers are given message after message: what a
// handler is given at the very moment of the drain counts as much as the rest.
func TestDrain_UnderLoadNothingIsRepeatedAndNothingHangs(t *testing.T) {
	t.Parallel()
	_, client := fake(t)
	topic, group := name("leave"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1, ReplicationFactor: 3}})
	const members, each = 40, 20
	published := 0
	more := func() { // one key is behind the others
		var list []*message.Message
		for range 3 * each {
			list = append(list, msg(fmt.Sprint("m", published), fmt.Sprint("k", published%2*published)))
			published++
		}
		publish(t, pub, topic, list...)
	}
	var mu sync.Mutex
	times := map[string]int{}
	for range members {
		more()
		sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, Concurrency: 8})
		out := subscribe(t, sub, topic)
		enough, ended := make(chan struct{}), make(chan struct{})
		var handlers sync.WaitGroup
		go func() {
			defer close(ended)
			n := 0
			for m := range out {
				if n++; n == each {
					close(enough)
				}
				handlers.Go(func() {
					mu.Lock()
					times[m.UUID]++
					mu.Unlock()
					m.Ack()
				})
			}
		}()
		<-enough
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		<-ended
		handlers.Wait()
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was handled %d times, want once: every member left in peace", id, n)
		}
	}
}
