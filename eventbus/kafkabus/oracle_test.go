package kafkabus_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

// oracle publishes and consumes during a fault, and judges afterwards, over all
// members of the group. Nothing comes late: the producer is idempotent.
type oracle struct {
	*bustest.Oracle
	cfg     kafkabus.SubscriberConfig
	log     *lines
	members []*kafkabus.Subscriber
}

// shortSession is the group's of tests that wait for dead members.
const shortSession = 1500 * time.Millisecond

// observe starts publishers and one member on the brokers of a client.
func observe(t testing.TB, client *kgo.Client, cfg kafkabus.SubscriberConfig) *oracle {
	t.Helper()
	o := &oracle{log: &lines{}}
	cfg.Client, cfg.Logger, cfg.ConsumerGroup = client, slog.New(o.log), name("g")
	cfg.Topics = kafkabus.TopicConfig{Partitions: 4}
	cfg.SessionTimeout, cfg.HeartbeatInterval = shortSession, shortSession/5
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	o.cfg = cfg
	o.Oracle = &bustest.Oracle{
		T: t, Patience: bustest.Patience(patience), Topic: name("oracle"),
		Publisher: newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: cfg.Topics}), Message: msg, Pause: 5 * time.Millisecond,
	}
	o.join()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log: %q", o.log.All())
		}
	})
	o.Start()
	return o
}

// join adds a member to the group.
func (o *oracle) join() *kafkabus.Subscriber {
	o.T.Helper()
	sub := newSubscriber(o.T, o.cfg)
	o.Consume(subscribe(o.T, sub, o.Topic))
	o.members = append(o.members, sub)
	return sub
}

// judge ends publishing, waits for the rest, and checks. It returns how many
// events were handled more than once.
func (o *oracle) judge() (repeated int) {
	o.T.Helper()
	o.Stop()
	for deadline := time.Now().Add(patience); len(o.Lost()) > 0 && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	var stats []kafkabus.SubscriberStats
	for _, sub := range o.members {
		if err := sub.Close(); err != nil {
			o.T.Errorf("close: %v", err)
		}
		stats = append(stats, sub.Stats())
	}
	repeated = o.Judge()
	o.T.Logf("%+v", stats[0])
	return repeated
}
