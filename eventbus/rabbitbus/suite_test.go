package rabbitbus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/router"
)

// lenient closes without an error when a message was left unsettled, as the
// suite does on purpose: it wants the message's context to end then, which here
// is the end of the drain.
type lenient struct{ *rabbitbus.Subscriber }

func (l lenient) Close() error {
	if err := l.Subscriber.Close(); !errors.Is(err, router.ErrDrainDeadline) {
		return err
	}
	return nil
}

// Watermill's own suite for every Pub/Sub.
func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		topology.DisableDLQ = true // half the queues
		withGroup := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
			t.Helper()
			client := connect(t, url)
			sub, err := rabbitbus.NewSubscriber(rabbitbus.SubscriberConfig{
				Client: client, ConsumerGroup: group, Topology: topology, NackDelay: 10 * time.Millisecond, DrainTimeout: 500 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sub.Close() }) // the suite forgets some
			// It publishes to topics that nobody has subscribed to.
			return newPublisher(t, rabbitbus.PublisherConfig{Client: client, Topology: topology, AllowUnroutable: true}), lenient{sub}
		}
		tests.TestPubSub(t, tests.Features{
			ConsumerGroups:                      true,
			GuaranteedOrder:                     true,
			GuaranteedOrderWithSingleSubscriber: true,
			Persistent:                          true,
		}, func(t *testing.T) (message.Publisher, message.Subscriber) {
			t.Helper()
			return withGroup(t, "suite")
		}, withGroup)
	})
}
