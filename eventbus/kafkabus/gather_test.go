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
)

// A crowd of publishers of single messages shares requests, each keeps its
// order, and each learns of its own outcome.
func TestPublisher_ACrowdSharesRequests(t *testing.T) {
	t.Parallel()
	count := &requests{}
	cluster, _ := fake(t)
	client := fakeClient(t, cluster, kgo.WithHooks(count))
	topic := name("crowd")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	publish(t, pub, topic, msg("first", "first"))
	const publishers, each = 64, 20
	before := count.produce.Load()
	var crowd sync.WaitGroup
	for p := range publishers {
		crowd.Go(func() {
			for i := range each {
				if err := pub.Publish(topic, msg(fmt.Sprint(p, "/", i), fmt.Sprint(p))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	crowd.Wait()
	// Three brokers, so that all messages of a round take three.
	if n := count.produce.Load() - before; n > publishers*each/2 {
		t.Errorf("%d messages took %d requests", publishers*each, n)
	}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, topic)
	last := map[int]int{}
	for range publishers*each + 1 {
		m := next(t, out)
		var p, i int
		if _, err := fmt.Sscanf(m.UUID, "%d/%d", &p, &i); err == nil {
			if i != last[p] {
				t.Errorf("%s came, want %d/%d", m.UUID, p, last[p])
			}
			last[p]++
		}
		m.Ack()
	}
}

// What a crowd has not sent at the deadline is not unknown: it is taken back,
// and never comes.
func TestPublisher_WhatIsNotSentAtTheDeadlineNeverComes(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic := name("unsent")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("first", "k"))
	stuck := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: -1})
	unsent, unknown := map[string]bool{}, 0
	var mu sync.Mutex
	for range 3 { // the last crowd finds two requests of the others under way
		var crowd sync.WaitGroup
		for range 40 {
			crowd.Go(func() {
				id := name("id")
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				errs := pub.PublishBatch(ctx, topic, []*message.Message{msg(id, "k")})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case len(errs) == 0 || !errors.Is(errs[0], context.DeadlineExceeded):
					t.Errorf("outcome %v, want the deadline", errs)
				case errors.Is(errs[0], kafkabus.ErrUnknown):
					unknown++
				default:
					unsent[id] = true
				}
			})
		}
		crowd.Wait()
	}
	stuck.Remove()
	publish(t, pub, topic, msg("end", "k"))
	if len(unsent) < 40 {
		t.Errorf("%d of 120 are told to be unsent, want the last crowd's", len(unsent))
	}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, topic)
	came := 0
	for last := ""; last != "end"; came++ {
		m := next(t, out)
		if last = m.UUID; unsent[last] {
			t.Errorf("%s came, which was told to be unsent", last)
		}
		m.Ack()
	}
	if came-2 > unknown {
		t.Errorf("%d came, at most %d were unknown", came-2, unknown)
	}
}

// A partition without a leader is no reason for the events of others to wait,
// though they travel in one request; nor later, for the room that is given back.
func TestPublisher_AStuckPartitionHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	cluster, _ := fake(t)
	client := fakeClient(t, cluster, kgo.MaxBufferedRecords(200)) // room for 100
	topic := name("uneven")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 2}})
	publish(t, pub, topic, msg("first", "k"))
	stuck := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{1}, Err: kerr.NotLeaderForPartition, Count: -1})
	partition := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	var keys [2][]string // of each partition
	for i := 0; min(len(keys[0]), len(keys[1])) < 30; i++ {
		key := fmt.Sprint(i)
		at := partition.Partition(&kgo.Record{Key: []byte(key)}, 2)
		keys[at] = append(keys[at], key)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	once := func(ctx context.Context, key string) []error {
		return pub.PublishBatch(ctx, topic, []*message.Message{msg(name("id"), key)})
	}
	brief, end := context.WithTimeout(ctx, 400*time.Millisecond)
	defer end()
	var held sync.WaitGroup
	for round, patience := range []context.Context{brief, ctx} {
		var sound sync.WaitGroup
		for _, key := range keys[1][:30] {
			held.Go(func() {
				if errs := once(patience, key); (errs != nil) != (patience == brief) {
					t.Errorf("%s, stuck, round %d: %v", key, round, errs)
				}
			})
		}
		for _, key := range keys[0][:30] {
			sound.Go(func() {
				for range 5 {
					if errs := once(ctx, key); errs != nil {
						t.Errorf("%s, sound, round %d: %v", key, round, errs)
					}
				}
			})
		}
		sound.Wait()
		if ctx.Err() != nil {
			t.Fatal("the events of the sound partition waited for the others' deadline")
		}
		if patience == brief {
			held.Wait()
		}
	}
	stuck.Remove()
	held.Wait()
}
