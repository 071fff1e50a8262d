package kafkabus_test

import (
	"context"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// Members share their partitions in the cooperative way, unless asked otherwise.
func TestRebalance_IsCooperativeByDefault(t *testing.T) {
	t.Parallel()
	client, topic, group := shared(t), name("protocol"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 2}})
	publish(t, pub, topic, msg("1", "k"))
	next(t, subscribe(t, newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group}), topic)).Ack()
	described, err := kadm.NewClient(client).DescribeGroups(context.WithoutCancel(t.Context()), group)
	if err != nil || !slices.Equal(described.Names(), []string{group}) || described[group].Protocol != "cooperative-sticky" {
		t.Errorf("the group is %+v, %v; want cooperative-sticky", described[group], err)
	}
}

// Brokers that are too old for the new group protocol are spoken to in the
// classic way.
func TestFake_TheNewProtocolWithOldBrokers(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t, kfake.MaxVersions(kversion.V3_5_0()))
	topic := name("old")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 2}})
	publish(t, pub, topic, msg("1", "k"))
	joins := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Count: -1, Observe: true})
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerProtocol: true})
	next(t, subscribe(t, sub, topic)).Ack()
	if joins.Hits() == 0 {
		t.Error("a message came without a JoinGroup")
	}
}
