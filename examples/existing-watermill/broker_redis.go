package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/redisbus"
)

// soon is after how long a consumer of a group takes what another one has left
// behind: to see it happen. A minute, the default of both, is for real life.
const soon = 2 * time.Second

// openRedis is Redis Streams. leat's entries are the stock adapter's, byte for
// byte, and both may be in one group: what the stock consumer held when it
// stopped, leat claims after PendingIdleTime.
func openRedis(ctx context.Context, url, topic string) (*broker, error) {
	url = cmp.Or(url, redisbus.DefaultURL)
	client, err := redisbus.OpenClient(ctx, redisbus.ClientConfig{URL: url})
	if err != nil {
		return nil, err
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.Join(errors.New("the URL cannot be read"), client.Close())
	}
	stock := redis.NewClient(opts) // the stock adapters close the client that they are given
	stockPub, err1 := redisstream.NewPublisher(redisstream.PublisherConfig{Client: stock}, watermill.NopLogger{})
	pub, err2 := redisbus.NewPublisher(redisbus.PublisherConfig{Client: client})
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Join(err, stock.Close(), client.Close())
	}
	subscriber := func(group string) (message.Subscriber, error) {
		return redisbus.NewSubscriber(redisbus.SubscriberConfig{
			Client: client, ConsumerGroup: group, Concurrency: concurrency, Key: orderOf,
			PendingIdleTime: soon,
		})
	}
	return &broker{
		name: redisbus.System, topic: topic, history: true,
		stockPublisher: stockPub,
		stockSubscriber: func(group string) (message.Subscriber, error) {
			return redisstream.NewSubscriber(redisstream.SubscriberConfig{
				Client: redis.NewClient(opts), ConsumerGroup: group, DisableIndefiniteInitialBlock: true,
				MaxIdleTime: soon, ClaimInterval: soon / 4,
			}, watermill.NopLogger{})
		},
		publisher: pub, subscriber: subscriber, takeover: subscriber,
		letters: func(string) (dlq.Store, error) {
			return redisbus.NewStore(redisbus.StoreConfig{Client: client, Stream: topic + ".dlq"})
		},
		remove: func(ctx context.Context) error { return client.Del(ctx, topic, topic+".dlq").Err() },
		close:  func() error { return errors.Join(stockPub.Close(), pub.Close(), client.Close()) },
	}, nil
}
