package kafkabus_test

import (
	"context"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// A group that wants no history has a beginning once it was joined, also when it
// has finished nothing yet: what is handed back, and what comes while nobody is
// there, is delivered.
func TestFake_LatestIsWhereTheGroupFirstJoined(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic, group := name("latest"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("history", "k"))
	cfg := kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, StartOffset: kafkabus.Latest}
	first := newSubscriber(t, cfg)
	out := subscribe(t, first, topic)
	eventually(t, "the beginning is committed", func() bool { return fakeCommitted(cluster, group, topic) == 1 })
	publish(t, pub, topic, msg("0", "k"))
	if m := next(t, out); m.UUID != "0" {
		t.Errorf("%s came, want what was published after the group was joined", m.UUID)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if report, _ := first.Drain(ctx); report.HandedBack != 1 {
		t.Errorf("%+v, want one handed back", report)
	}
	publish(t, pub, topic, msg("1", "k"))
	out = subscribe(t, newSubscriber(t, cfg), topic)
	for _, want := range []string{"0", "1"} {
		m := next(t, out)
		if m.UUID != want {
			t.Errorf("%s came, want %s", m.UUID, want)
		}
		m.Ack()
	}
}
