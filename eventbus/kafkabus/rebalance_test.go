package kafkabus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/middleware"
)

// Members join and leave while events flow: nothing is lost, nothing that was
// finished comes again, and each key keeps its order over all members.
func TestRebalance_MembersJoinAndLeaveEverySecond(t *testing.T) {
	t.Parallel()
	o := observe(t, shared(t), kafkabus.SubscriberConfig{})
	o.Progress(100)
	for range 4 {
		guest := o.join()
		<-time.After(time.Second)
		if err := guest.Close(); err != nil {
			t.Error(err)
		}
		<-time.After(time.Second)
	}
	rebalances := o.members[0].Stats().Rebalances
	o.Progress(100)
	if repeated := o.judge(); repeated > 0 {
		t.Errorf("%d events were handled twice, want none: all had left in peace", repeated)
	}
	if rebalances < 4 {
		t.Errorf("%d rebalances were counted, want at least one for each guest", rebalances)
	}
}

// The same with the protocol in which the brokers assign: members learn of each
// other by heartbeats, whose pace the brokers set.
func TestRebalance_MembersJoinAndLeaveWithTheNewProtocol(t *testing.T) {
	t.Parallel()
	o := observe(t, shared(t), kafkabus.SubscriberConfig{ConsumerProtocol: true})
	o.Progress(100)
	for range 2 {
		guest := o.join()
		eventually(t, "the guest has work", func() bool { return guest.Stats().Acked > 10 })
		if err := guest.Close(); err != nil {
			t.Error(err)
		}
		o.Progress(100)
	}
	if repeated := o.judge(); repeated > 0 {
		t.Errorf("%d events were handled twice, want none: all had left in peace", repeated)
	}
}

func TestRebalance_WithTheNewProtocolTheGroupIsOfIt(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := name("kip848"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	publish(t, pub, topic, batch(4)...)
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, ConsumerName: "one", ConsumerProtocol: true})
	out := subscribe(t, sub, topic)
	for range 4 {
		next(t, out).Ack()
	}
	inspect, err := kafkabus.NewInspector(kafkabus.InspectorConfig{Client: client, Topic: topic, Group: group})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is committed", func() bool { n, err := inspect.Lag(t.Context()); return n == 0 && err == nil })
	info, err := inspect.TopicInfo(t.Context())
	if err != nil || info.GroupState != "Stable" || info.Members != 1 || info.Consumers[0] != "one" {
		t.Errorf("the group: %+v, %v; want one stable member", info, err)
	}
}

// A static member that comes back within its session has its partitions again,
// and the other members notice nothing.
func TestRebalance_AStaticMemberComesBackUnnoticed(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := name("static"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	publish(t, pub, topic, spread(0, 40)...)
	member := func(name string) (*kafkabus.Subscriber, <-chan *message.Message) {
		sub := newSubscriber(t, kafkabus.SubscriberConfig{
			Client: client, ConsumerGroup: group, ConsumerName: name, StaticMembership: true, Concurrency: 4, SessionTimeout: 20 * time.Second,
		})
		return sub, subscribe(t, sub, topic)
	}
	handle := func(out <-chan *message.Message) {
		for m := range out {
			m.Ack()
		}
	}
	one, outOne := member("one")
	go handle(outOne)
	eventually(t, "the first has all", func() bool { return committed(t, topic, group) == 40 })
	two, outTwo := member("two")
	go handle(outTwo)
	sent := 40
	more := func() int64 {
		publish(t, pub, topic, spread(sent, sent+40)...)
		sent += 40
		return int64(sent)
	}
	eventually(t, "both have work", func() bool {
		all := more()
		eventually(t, "it is done", func() bool { return committed(t, topic, group) == all })
		return two.Stats().Acked > 0
	})
	inspect, err := kafkabus.NewInspector(kafkabus.InspectorConfig{Client: client, Topic: topic, Group: group})
	if err != nil {
		t.Fatal(err)
	}
	// Partitions move in two steps: given up, then taken.
	eventually(t, "the group has settled", func() bool {
		info, err := inspect.TopicInfo(t.Context())
		return err == nil && info.GroupState == "Stable" && info.Members == 2 && one.Stats().Rebalances > 1
	})
	before := one.Stats().Rebalances
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	again, outAgain := member("two")
	go handle(outAgain)
	all := more()
	eventually(t, "it works on", func() bool { return committed(t, topic, group) == all })
	if n := again.Stats().Acked; n == 0 {
		t.Error("the member that came back got nothing")
	}
	if n := one.Stats().Rebalances - before; n != 0 {
		t.Errorf("the other member saw %d rebalances, want none", n)
	}
}

// A handler slower than MaxPollInterval keeps its partition: heartbeats do not
// depend on handlers.
func TestRebalance_AHandlerSlowerThanMaxPollIntervalKeepsItsPartition(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic := name("slow")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("1", "k"), msg("2", "k"))
	sub := newSubscriber(t, kafkabus.SubscriberConfig{
		Client: client, MaxPollInterval: time.Second, RevokeTimeout: 100 * time.Millisecond,
		SessionTimeout: shortSession, HeartbeatInterval: shortSession / 5,
	})
	out := subscribe(t, sub, topic)
	m := next(t, out)
	<-time.After(3 * time.Second)
	if err := m.Context().Err(); err != nil {
		t.Errorf("the handler's context has ended: %v", context.Cause(m.Context()))
	}
	m.Ack()
	if m := next(t, out); m.UUID != "2" {
		t.Errorf("%s came, want 2", m.UUID)
	} else {
		m.Ack()
	}
	if s := sub.Stats(); s.LostPartition != 0 || s.Rebalances != 0 {
		t.Errorf("%+v, want nothing lost", s)
	}
}

// A handler that is slower than a rebalance waits sees its context end; what it
// says afterwards is nobody's business, and the other member handles the event.
func TestRebalance_ALateResultHarmsNothing(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := name("late"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 2}})
	publish(t, pub, topic, spread(0, 20)...)
	cfg := kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, Concurrency: 20, RevokeTimeout: 50 * time.Millisecond}
	one := newSubscriber(t, cfg)
	out := subscribe(t, one, topic)
	var mine []*message.Message
	for range 20 {
		mine = append(mine, next(t, out))
	}
	two := newSubscriber(t, cfg)
	moved := subscribe(t, two, topic)
	first := next(t, moved)
	part := middleware.DeliveryFrom(first.Context()).Partition
	for _, m := range mine { // late, in every way
		m.Ack()
	}
	handled := map[string]bool{first.UUID: true}
	first.Ack()
	want := 0
	for _, m := range mine {
		if middleware.DeliveryFrom(m.Context()).Partition == part {
			want++
			if !errors.Is(context.Cause(m.Context()), kafkabus.ErrPartitionLost) {
				t.Errorf("%s: the context's cause is %v", m.UUID, context.Cause(m.Context()))
			}
		}
	}
	for len(handled) < want {
		m := next(t, moved)
		handled[m.UUID] = true
		m.Ack()
	}
	eventually(t, "each partition is committed by its owner", func() bool { return committed(t, topic, group) == 20 })
	if s := one.Stats(); s.Acked != int64(20-want) || s.HandedBack != int64(want) {
		t.Errorf("%+v, want %d acked and %d handed back", s, 20-want, want)
	}
}
