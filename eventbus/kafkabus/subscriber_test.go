package kafkabus_test

import (
	"fmt"
	"log/slog"
	"testing"

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
	t.Logf("%+v %q", sub.Stats(), log.all())
}
