package kafkabus_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/middleware"
)

func TestSubscriber_DeliversWhatWasPublished(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic := name("round")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	for i := range 20 {
		publish(t, pub, topic, msg(fmt.Sprint("m", i), fmt.Sprint("k", i%5)))
	}
	log := &lines{}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, Concurrency: 4, Logger: slog.New(log)})
	out := subscribe(t, sub, topic)
	last := map[string]int{}
	for range 20 {
		m := next(t, out)
		var n int
		_, _ = fmt.Sscanf(m.UUID, "m%d", &n)
		d := middleware.DeliveryFrom(m.Context())
		if prev, ok := last[d.Key]; ok && prev > n {
			t.Errorf("key %s: %d after %d", d.Key, n, prev)
		}
		last[d.Key] = n
		m.Ack()
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%+v %q", sub.Stats(), log.All())
}

// A lone record is committed at once; those that trickle in behind it, with
// nothing else to handle either, wait for each other.
func TestSubscriber_ATrickleIsNotACommitEach(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := name("trickle"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, AckDelay: time.Hour})
	out := subscribe(t, sub, topic)
	handle := func(n int) {
		for i := range n {
			publish(t, pub, topic, msg(fmt.Sprint(i), "k"))
			next(t, out).Ack()
		}
	}
	handle(1)
	eventually(t, "the first is committed", func() bool { return committed(t, topic, group) == 1 })
	handle(50)
	eventually(t, "all are finished", func() bool { return sub.Stats().Acked == 51 })
	if n := committed(t, topic, group); n != 1 {
		t.Errorf("committed up to %d, want 1 until AckDelay has passed", n)
	}
	if _, err := sub.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if n := committed(t, topic, group); n != 51 {
		t.Errorf("committed up to %d after the drain, want 51", n)
	}
}
