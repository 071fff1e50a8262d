package dlq_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
	"github.com/leat-go/leat/integration/brokers"
)

// The stock adapter without a consumer group, from the oldest entry: what
// TopicConfig.Subscribe asks for.
func TestTopic_OnStockRedisStream(t *testing.T) {
	options, err := redis.ParseURL(brokers.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	options.ContextTimeoutEnabled = true
	client := redis.NewClient(options)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("the given client was closed by somebody else: %v", err)
		}
	})
	dlqtest.Run(t, func(t *testing.T) dlq.Store {
		t.Helper()
		stream := "dlqtest:" + uuid.NewString()
		t.Cleanup(func() { client.Del(context.WithoutCancel(t.Context()), stream) })
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := dlq.NewTopic(dlq.TopicConfig{
			Publisher: publisher, Topic: stream,
			Subscribe: func(context.Context) (message.Subscriber, error) {
				return redisstream.NewSubscriber(redisstream.SubscriberConfig{
					Client: client, FanOutOldestId: "0", DisableIndefiniteInitialBlock: true,
				}, nil)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
