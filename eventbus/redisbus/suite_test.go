package redisbus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/router"
)

// lenient closes without an error when a message was left unsettled, as the
// suite does on purpose: it wants the message's context to end then, which here
// is the end of the drain.
type lenient struct{ *redisbus.Subscriber }

func (l lenient) Close() error {
	if err := l.Subscriber.Close(); !errors.Is(err, router.ErrDrainDeadline) {
		return err
	}
	return nil
}

// Watermill's own suite for every Pub/Sub.
func TestWatermillSuite(t *testing.T) {
	url := brokers.Redis(t)
	for _, form := range []redisbus.Form{redisbus.FormWatermill, redisbus.FormText} {
		t.Run(form.String(), func(t *testing.T) {
			withGroup := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
				t.Helper()
				client := connect(t, url)
				sub, err := redisbus.NewSubscriber(redisbus.SubscriberConfig{
					Client: client, ConsumerGroup: group, NackDelay: 10 * time.Millisecond,
					PendingIdleTime: 2 * time.Second, DrainTimeout: 500 * time.Millisecond,
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = sub.Close() }) // the suite forgets some
				return newPublisher(t, redisbus.PublisherConfig{Client: client, Form: form}), lenient{sub}
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
}
