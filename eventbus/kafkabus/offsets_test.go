package kafkabus_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// What a group has committed may be beyond the end: the topic was restored from
// a copy, or made anew while nobody looked. It begins with what is there, and
// what it does then is committed, and so not done again.
func TestFake_CommittedBeyondTheEnd(t *testing.T) {
	t.Parallel()
	for _, marks := range []bool{false, true} {
		t.Run(fmt.Sprint("marks ", marks), func(t *testing.T) {
			t.Parallel()
			cluster, client := fake(t)
			topic, group := name("beyond"), name("g")
			pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
			publish(t, pub, topic, msg("0", "k"), msg("1", "k"), msg("2", "k"))
			var offsets kadm.Offsets
			offsets.AddOffset(topic, 0, 100, -1)
			if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), group, offsets); err != nil {
				t.Fatal(err)
			}
			cfg := kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group}
			if marks {
				cfg = withStore(t, client, group)
			}
			out := subscribe(t, newSubscriber(t, cfg), topic)
			for i := range int64(3) {
				m := next(t, out)
				if m.UUID != fmt.Sprint(i) {
					t.Errorf("%s came, want %d", m.UUID, i)
				}
				if at := fakeCommitted(cluster, group, topic); marks && at != i {
					t.Errorf("at %d the group's offset is %d: what it says of its owners is of another record", i, at)
				}
				m.Ack()
				eventually(t, "it is committed", func() bool { return fakeCommitted(cluster, group, topic) == i+1 })
			}
		})
	}
}

// Retention that overtakes a slow group is told, with the number of records.
// Where a group begins that has committed nothing has no say in where this one
// goes on.
func TestFake_LossByRetentionIsCounted(t *testing.T) {
	t.Parallel()
	for start, where := range map[kafkabus.Offset]string{kafkabus.Earliest: "earliest", kafkabus.Latest: "latest"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			cluster, client := fake(t)
			topic, group := name("retention"), name("g")
			pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
			for i := range 10 {
				publish(t, pub, topic, msg(fmt.Sprint("m", i), "k"))
			}
			first := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group})
			next(t, subscribe(t, first, topic)).Ack()
			eventually(t, "one is committed", func() bool { return fakeCommitted(cluster, group, topic) == 1 })
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			if err := cluster.DeleteRecords(topic, 0, 7); err != nil {
				t.Fatal(err)
			}
			sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, StartOffset: start})
			m := next(t, subscribe(t, sub, topic))
			if m.UUID != "m7" {
				t.Errorf("%s came, want the oldest that is left", m.UUID)
			}
			m.Ack()
			if n := sub.Stats().Lost; n != 6 {
				t.Errorf("%d records were counted as lost, want 6", n)
			}
		})
	}
}
