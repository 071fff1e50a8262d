package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/router"
)

// withStore returns a configuration that searches for records that kill.
func withStore(t testing.TB, client *kgo.Client, group string) kafkabus.SubscriberConfig {
	t.Helper()
	store, err := kafkabus.NewStore(kafkabus.StoreConfig{Client: client, Topic: name("letters")})
	if err != nil {
		t.Fatal(err)
	}
	return kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, DeadLetters: store}
}

// drained ends the subscriptions, with time enough, and returns how many records
// were handed back.
func drained(t testing.TB, sub *kafkabus.Subscriber) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	report, err := sub.Drain(ctx)
	if err != nil {
		t.Errorf("drain: %v, want that nobody is waited for in vain", err)
	}
	return report.HandedBack
}

// A partition whose beginning cannot be written has handed out nothing. What is
// before a tombstone, which needs no handler, is not waited for.
func TestDrain_WhatWasNotBegunIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic, group := name("unbegun"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("m", "k"))
	produce(t, client, &kgo.Record{Topic: topic, Key: []byte("k")})
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownServerError, Count: -1})
	sub := newSubscriber(t, withStore(t, client, group))
	subscribe(t, sub, topic)
	eventually(t, "both are read", func() bool { return sub.Stats().Tombstones == 1 })
	if n := drained(t, sub); n != 1 {
		t.Errorf("%d handed back, want the one before the tombstone", n)
	}
}

// A message that was nacked, and that nobody takes a second time, is nobody's:
// a consumer that reads no more holds up no drain.
func TestDrain_ANackedMessageThatNobodyTakesAgainIsHandedBack(t *testing.T) {
	t.Parallel()
	_, client := fake(t)
	topic := name("nacked")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("m", "k"))
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, NackDelay: time.Millisecond})
	next(t, subscribe(t, sub, topic)).Nack()
	eventually(t, "it is nacked", func() bool { return sub.Stats().Nacked == 1 })
	<-time.After(100 * time.Millisecond) // it is offered again
	if n := drained(t, sub); n != 1 {
		t.Errorf("%d handed back, want the nacked one", n)
	}
}

// Past the deadline nothing is handed out any more, not even what is before
// finished work: its context has ended.
func TestDrain_PastTheDeadlineNothingIsHandedOut(t *testing.T) {
	t.Parallel()
	_, client := fake(t)
	topic := name("past")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	const keys = 10
	publish(t, pub, topic, spread(0, keys)...)
	for i := range keys {
		publish(t, pub, topic, msg("behind", fmt.Sprint("k", i)))
	}
	publish(t, pub, topic, msg("last", "other"))
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, Concurrency: keys + 1})
	out := subscribe(t, sub, topic)
	var held []*message.Message
	for range keys + 1 {
		m := next(t, out)
		if m.UUID == "last" {
			m.Ack()
			continue
		}
		held = append(held, m)
	}
	eventually(t, "the last is finished", func() bool { return sub.Stats().Acked == 1 })
	late := make(chan int)
	go func() {
		n := 0
		for range out {
			n++
		}
		late <- n
	}()
	for _, m := range held {
		go func() {
			<-m.Context().Done()
			m.Nack()
		}()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := sub.Drain(ctx); !errors.Is(err, router.ErrDrainDeadline) {
		t.Errorf("drain: %v, want the deadline", err)
	}
	if n := <-late; n != 0 {
		t.Errorf("%d messages were handed out after the deadline", n)
	}
}

// Partitions are revoked from a member that is drained at the same moment: it
// ends, and nothing finished is repeated.
func TestDrain_WhileItsPartitionsMove(t *testing.T) {
	t.Parallel()
	_, client := fake(t)
	topic, group := name("both"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4, ReplicationFactor: 3}})
	const rounds, each, total = 15, 20, 1200
	publish(t, pub, topic, spread(0, total)...)
	var mu sync.Mutex
	times := map[string]int{}
	all := make(chan struct{}) // closed: the first members were so quick that nothing is left
	member := func() (*kafkabus.Subscriber, <-chan struct{}, func()) {
		cfg := withStore(t, client, group)
		cfg.Concurrency, cfg.HeartbeatInterval = 8, 20*time.Millisecond
		sub := newSubscriber(t, cfg)
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
					if times[m.UUID]++; times[m.UUID] == 1 && len(times) == total {
						close(all)
					}
					mu.Unlock()
					m.Ack()
				})
			}
		}()
		return sub, enough, func() { <-ended; handlers.Wait() }
	}
	leaver, enough, wait := member()
	for range rounds {
		select {
		case <-enough:
		case <-all:
		}
		comer, hasEnough, waits := member() // its joining takes partitions away
		drained(t, leaver)
		wait()
		leaver, enough, wait = comer, hasEnough, waits
	}
	drained(t, leaver)
	wait()
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was handled %d times, want once", id, n)
		}
	}
}

// What is behind a message that is handed back is done again whatever becomes of
// it now: its key's next message is not handed out in its place.
func TestDrain_NothingOvertakesWhatIsHandedBack(t *testing.T) {
	t.Parallel()
	_, client := fake(t)
	topic := name("overtake")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("0", "k"), msg("1", "k"), msg("2", "other"))
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, Concurrency: 2, NackDelay: time.Hour})
	out := subscribe(t, sub, topic)
	held, nacked := next(t, out), next(t, out)
	if held.UUID == "0" {
		held, nacked = nacked, held
	}
	nacked.Nack()
	eventually(t, "it is nacked", func() bool { return sub.Stats().Nacked == 1 })
	handedBack := make(chan int, 1)
	go func() { handedBack <- drained(t, sub) }()
	select {
	case m := <-out:
		t.Errorf("%s came, and 0 comes again", m.UUID)
		m.Ack()
	case <-time.After(200 * time.Millisecond): // it is not to come
	}
	held.Ack()
	for m := range out {
		t.Errorf("%s came, and 0 comes again", m.UUID)
		m.Ack()
	}
	if n := <-handedBack; n != 3 {
		t.Errorf("%d handed back, want all three: the last is behind a gap", n)
	}
}
