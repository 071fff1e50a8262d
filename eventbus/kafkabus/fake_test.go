package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// fake starts a cluster in this process, whose answers can be chosen. It runs
// without any broker on the machine.
func fake(t testing.TB, opts ...kfake.Opt) (*kfake.Cluster, *kgo.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(time.Second),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster, fakeClient(t, cluster)
}

func fakeClient(t testing.TB, cluster *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	addrs := ""
	for _, a := range cluster.ListenAddrs() {
		addrs += a + ","
	}
	return connect(t, kafkabus.ClientConfig{BootstrapServers: addrs, Options: opts})
}

// Answers of the brokers that pass are waited for; nothing is lost, doubled or
// out of order.
func TestFake_PassingErrorsAreOvercome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key kmsg.Key
		err *kerr.Error
	}{
		{kmsg.Produce, kerr.NotLeaderForPartition},
		{kmsg.Produce, kerr.NotEnoughReplicas},
		{kmsg.Fetch, kerr.NotLeaderForPartition},
		{kmsg.Fetch, kerr.FencedLeaderEpoch},
		{kmsg.Fetch, kerr.UnknownServerError},
		{kmsg.OffsetCommit, kerr.CoordinatorLoadInProgress},
		{kmsg.OffsetCommit, kerr.NotCoordinator},
		{kmsg.OffsetCommit, kerr.UnknownServerError},
		{kmsg.OffsetFetch, kerr.CoordinatorLoadInProgress},
		{kmsg.JoinGroup, kerr.CoordinatorNotAvailable},
		{kmsg.SyncGroup, kerr.RebalanceInProgress},
		{kmsg.Heartbeat, kerr.RebalanceInProgress},
	} {
		t.Run(fmt.Sprint(c.key.Name(), " ", c.err.Message), func(t *testing.T) {
			t.Parallel()
			cluster, client := fake(t)
			topic, group := name("passing"), name("g")
			pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 2, ReplicationFactor: 3}})
			publish(t, pub, topic, spread(0, 20)...)
			faults := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, Count: 3})
			sub := newSubscriber(t, kafkabus.SubscriberConfig{
				Client: client, ConsumerGroup: group, SessionTimeout: 2 * time.Second, HeartbeatInterval: 100 * time.Millisecond,
			})
			out := subscribe(t, sub, topic)
			publish(t, pub, topic, spread(20, 40)...)
			ledger := map[string]int{}
			last := map[string]int{}
			for len(ledger) < 40 {
				m := next(t, out)
				var n int
				_, _ = fmt.Sscanf(m.UUID, "m%d", &n)
				key := m.Metadata["aggregate_id"]
				if ledger[m.UUID]++; ledger[m.UUID] == 1 && n < last[key] {
					t.Errorf("%s came after %d of its key", m.UUID, last[key])
				}
				last[key] = n
				m.Ack()
			}
			eventually(t, "all is committed", func() bool { return fakeCommitted(cluster, group, topic) == 40 })
			wait, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := faults.Wait(wait, 1); err != nil {
				t.Errorf("the fault was never met: %v", err)
			}
			for id, n := range ledger {
				if n > 1 {
					t.Errorf("%s was delivered %d times", id, n)
				}
			}
		})
	}
}

func fakeCommitted(cluster *kfake.Cluster, group, topic string) (sum int64) {
	info := cluster.GroupInfo(group)
	if info == nil {
		return 0
	}
	for _, c := range info.Commits[topic] {
		sum += c.Offset
	}
	return sum
}

// What the brokers refuse for good is told event by event, typed, and the
// others of the same call are confirmed.
func TestFake_RefusalNamesItsEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err     *kerr.Error
		unknown bool
	}{
		{kerr.TopicAuthorizationFailed, false},
		{kerr.InvalidRecord, false},
		{kerr.MessageTooLarge, false},
		{kerr.NotEnoughReplicasAfterAppend, true},
		{kerr.UnknownServerError, true},
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			t.Parallel()
			cluster, client := fake(t)
			topic := name("refused")
			pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
			publish(t, pub, topic, msg("before", "a"))
			// Of 4 partitions "abc" goes to the last, see testdata/partitions.txt.
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{3}, Err: c.err, Count: -1})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			errs := pub.PublishBatch(ctx, topic, []*message.Message{msg("1", "a"), msg("2", "abc"), msg("3", "ab")})
			if len(errs) != 3 || errs[0] != nil || errs[2] != nil || errs[1] == nil {
				t.Fatalf("outcomes: %v; want the second one's error alone", errs)
			}
			if errors.Is(errs[1], kafkabus.ErrUnknown) != c.unknown {
				t.Errorf("%v: unknown is %t, want %t", errs[1], !c.unknown, c.unknown)
			}
			var refused *kafkabus.RefusedError
			if !c.unknown && (!errors.As(errs[1], &refused) || refused.Code != c.err.Message) {
				t.Errorf("%v, want a RefusedError with %s", errs[1], c.err.Message)
			}
		})
	}
}

// At the deadline of a call what is confirmed counts as confirmed: only what
// the brokers have not answered is unknown.
func TestFake_AtTheDeadlineTheConfirmedAreConfirmed(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic := name("deadline")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	publish(t, pub, topic, msg("before", "a"))
	stuck := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{3}, Err: kerr.NotLeaderForPartition, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	errs := pub.PublishBatch(ctx, topic, []*message.Message{msg("1", "a"), msg("2", "abc"), msg("3", "ab")})
	if len(errs) != 3 || errs[0] != nil || errs[2] != nil {
		t.Errorf("outcomes: %v; want the first and the last confirmed", errs)
	}
	if len(errs) == 3 && (!errors.Is(errs[1], kafkabus.ErrUnknown) || !errors.Is(errs[1], context.DeadlineExceeded)) {
		t.Errorf("%v, want unknown, deadline exceeded", errs[1])
	}
	stuck.Remove()
	publish(t, pub, topic, msg("after", "abc"))
}

// Partitions move to other brokers while events flow. The new leaders of this
// cluster say that records were lost; so some are read again.
func TestFake_PartitionsMoveBetweenBrokers(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	o := observe(t, client, kafkabus.SubscriberConfig{})
	o.Progress(50)
	for i := range int32(8) {
		if err := cluster.MoveTopicPartition(o.Topic, i%4, i%3); err != nil {
			t.Fatal(err)
		}
		cluster.RehashCoordinators()
		o.Progress(25)
	}
	o.judge()
}

// A member that the group has thrown out loses its partitions with a cause; what
// it was about to commit is refused, and its handlers' results are ignored.
func TestFake_AMemberThatIsThrownOutCommitsNothing(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic, group := name("fenced"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("1", "k"))
	sub := newSubscriber(t, kafkabus.SubscriberConfig{
		Client: client, ConsumerGroup: group, SessionTimeout: 2 * time.Second, HeartbeatInterval: 50 * time.Millisecond,
	})
	out := subscribe(t, sub, topic)
	m := next(t, out)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: group, Err: kerr.UnknownMemberID})
	select {
	case <-m.Context().Done():
	case <-time.After(patience):
		t.Fatal("the handler's context did not end")
	}
	if c := context.Cause(m.Context()); !errors.Is(c, kafkabus.ErrPartitionLost) {
		t.Errorf("the cause is %v, want ErrPartitionLost", c)
	}
	m.Ack() // late
	again := next(t, out)
	if again.UUID != "1" {
		t.Errorf("%s came, want 1 again", again.UUID)
	}
	if n := fakeCommitted(cluster, group, topic); n != 0 {
		t.Errorf("committed %d, want 0: the late result counts for nothing", n)
	}
	again.Ack()
	eventually(t, "the second result is committed", func() bool { return fakeCommitted(cluster, group, topic) == 1 })
	if s := sub.Stats(); s.LostPartition != 1 || s.Acked != 1 {
		t.Errorf("%+v, want one partition lost and one message acked", s)
	}
}

// Offsets that a compacted topic has no more are no gap to wait for.
func TestFake_CompactedTopic(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic, group := name("compacted"), name("g")
	if err := cluster.CreateTopic(topic, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client})
	for i := range 10 {
		publish(t, pub, topic, msg(fmt.Sprint("m", i), fmt.Sprint("k", i%2)))
	}
	cluster.Compact()
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group})
	out := subscribe(t, sub, topic)
	came := 0
	for last := ""; last != "m9"; came++ {
		m := next(t, out)
		last = m.UUID
		m.Ack()
	}
	if came > 5 {
		t.Errorf("%d of 10 came, want most of them compacted", came)
	}
	eventually(t, "the group has come to the end", func() bool { return fakeCommitted(cluster, group, topic) == 10 })
	if s := sub.Stats(); s.Lost != 0 {
		t.Errorf("%d records are counted as lost: compaction loses nothing", s.Lost)
	}
}
