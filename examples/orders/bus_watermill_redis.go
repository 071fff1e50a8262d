package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
)

// watermillRedis is the facade on somebody else's Pub/Sub: Watermill's own
// adapter for Redis Streams, as it is. It has one event in flight, whatever
// -concurrency says.
//
// Several processes can share a group, and what a killed one had begun comes to
// the others. But the adapter gives no sign of life for what it holds: an event
// that is in hand, or waits for it, longer than deadAfter is taken from a
// process that lives, and handled twice. Nor is there an end with an event that
// kills its process each time.
func watermillRedis() backend {
	return backend{
		name:     "watermill-redis",
		title:    "Redis, by Watermill's stock adapter",
		uses:     []string{"redis", "worker", "workers"},
		takeover: deadAfter,
		check: func(o options) []error {
			if _, err := redisOptions(o.redis); err != nil {
				return []error{fmt.Errorf("-redis: %w", err)}
			}
			return nil
		},
		open: openWatermillRedis,
	}
}

func openWatermillRedis(ctx context.Context, s setup) (_ opened, err error) {
	var logger watermill.LoggerAdapter
	if s.logger != nil {
		logger = watermill.NewSlogLogger(s.logger)
	}
	opts, err := redisOptions(s.redis)
	if err != nil {
		return opened{}, err
	}
	var closers []func() error
	closeAll := func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()

	// The adapters close the client they are given, so each gets its own. The
	// publishing one does not repeat an XADD by itself: that doubles events.
	pubOpts := *opts
	pubOpts.MaxRetries = -1
	pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: redis.NewClient(&pubOpts)}, logger)
	if err != nil {
		return opened{}, err
	}
	closers = append(closers, pub.Close)
	subClient := redis.NewClient(opts)
	sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: subClient, ConsumerGroup: s.group, Consumer: s.consumer, DisableIndefiniteInitialBlock: true,
		MaxIdleTime: deadAfter, ClaimInterval: deadAfter / 5,
	}, logger)
	if err != nil {
		return opened{}, err
	}
	closers = append([]func() error{sub.Close}, closers...)
	ping, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := subClient.Ping(ping).Err(); err != nil {
		return opened{}, fmt.Errorf("redis at %s does not answer: %w", opts.Addr, err)
	}

	// Dead letters are messages on a topic of their own; reading it needs a
	// subscriber that begins with the oldest and belongs to no group.
	letters, err := dlq.NewTopic(dlq.TopicConfig{
		Publisher: pub, Topic: s.topic + ".dlq",
		Subscribe: func(ctx context.Context) (message.Subscriber, error) {
			sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
				Client: redis.NewClient(opts), FanOutOldestId: "0", DisableIndefiniteInitialBlock: true,
			}, logger)
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { _ = sub.Close() }) // it only read
			return sub, nil
		},
	})
	if err != nil {
		return opened{}, err
	}
	bus, err := eventbus.New(eventbus.Config{
		Publisher: pub, Subscriber: sub, DeadLetters: letters, System: "redis",
		Registry: s.registry, Topic: s.topic, Group: s.group, Concurrency: s.concurrency,
		Retry: s.retry, HandlerMiddleware: s.around, Logger: s.logger,
	})
	if err != nil {
		return opened{}, err
	}
	stream, err := redisbus.NewInspector(redisbus.InspectorConfig{Client: subClient, Stream: s.topic, Group: s.group})
	if err != nil {
		return opened{}, err
	}
	return opened{bus: bus, group: redisGroup{stream: stream, name: s.group}, close: closeAll}, nil
}

// redisOptions reads the URL. What net/url says about a bad one can hold the
// password, so it is not passed on.
func redisOptions(text string) (*redis.Options, error) {
	if _, err := url.Parse(text); err != nil {
		return nil, errors.New("not a URL like redis://user:password@host:6379/0")
	}
	opts, err := redis.ParseURL(text)
	if err != nil {
		return nil, fmt.Errorf("%w (it looks like redis://user:password@host:6379/0)", err)
	}
	return opts, nil
}

// quietRedis is go-redis' own log, which it would print to standard error
// amid the output; what matters comes back as an error.
type quietRedis struct{}

// Printf prints nothing.
func (quietRedis) Printf(context.Context, string, ...any) {}
