package kafkabus_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// ofKind counts the requests of a kind that a client has sent.
type ofKind struct {
	kind kmsg.Key
	atomic.Int64
}

func (r *ofKind) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if kmsg.Key(key) == r.kind {
		r.Add(1)
	}
}

// A member that waits for others to join goes on handling, and commits what it
// handles; a drain then does not wait for them, and the group has not to notice by
// the session time-out that it has left.
func TestDrain_DoesNotWaitForAJoin(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic, group := name("join"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("0", "k"))
	cfg := kafkabus.SubscriberConfig{ConsumerGroup: group, SessionTimeout: time.Minute, HeartbeatInterval: 100 * time.Millisecond}
	joins, beats := &ofKind{kind: kmsg.JoinGroup}, &ofKind{kind: kmsg.Heartbeat}
	cfg.Client = fakeClient(t, cluster, kgo.WithHooks(joins))
	sub := newSubscriber(t, cfg)
	out := subscribe(t, sub, topic)
	next(t, out).Ack()
	eventually(t, "the first is committed", func() bool { return fakeCommitted(cluster, group, topic) == 1 })

	slow := cfg
	slow.Client, slow.HeartbeatInterval = fakeClient(t, cluster, kgo.WithHooks(beats)), 50*time.Second
	subscribe(t, newSubscriber(t, slow), topic)
	eventually(t, "another one is there, and deaf", func() bool { // but for one heartbeat soon after it has joined
		g := cluster.GroupInfo(group)
		return g.State == "Stable" && len(g.Members) == 2 && beats.Load() > 0
	})
	before := joins.Load()
	slow.Client = client
	subscribe(t, newSubscriber(t, slow), topic)
	eventually(t, "it joins again, for a third one", func() bool { return joins.Load() > before })

	publish(t, pub, topic, msg("1", "k"))
	next(t, out).Ack()
	eventually(t, "the second is committed", func() bool { return fakeCommitted(cluster, group, topic) == 2 })
	publish(t, pub, topic, msg("2", "k"))
	next(t, out).Ack()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := sub.Drain(ctx); err != nil {
		t.Error(err)
	}
	g := cluster.GroupInfo(group)
	if n := fakeCommitted(cluster, group, topic); n != 3 || g.State == "Stable" || len(g.Members) != 2 {
		t.Errorf("committed %d, %s with %d members; want 3, and that the two others still join", n, g.State, len(g.Members))
	}
}
