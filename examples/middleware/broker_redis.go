package main

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
)

// openRedis is leat's transport on Redis Streams.
func openRedis(ctx context.Context, url, topic string) (*broker, error) {
	client, err := redisbus.OpenClient(ctx, redisbus.ClientConfig{URL: url})
	if err != nil {
		return nil, err
	}
	dead := topic + ".dlq"
	letters, err1 := redisbus.NewStore(redisbus.StoreConfig{Client: client, Stream: dead})
	pub, err2 := redisbus.NewPublisher(redisbus.PublisherConfig{Client: client})
	events, err3 := redisbus.NewSubscriber(redisbus.SubscriberConfig{Client: client, ConsumerGroup: "shop", Concurrency: concurrency, DeadLetters: letters})
	plain, err4 := redisbus.NewSubscriber(redisbus.SubscriberConfig{Client: client, ConsumerGroup: "audit", DeadLetters: letters})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		_ = client.Close() // the other error is the one to tell
		return nil, err
	}
	return &broker{
		title: "Redis Streams", system: redisbus.System, topic: topic,
		publisher: pub, events: events, plain: plain, letters: letters,
		encrypted: func(e *Encryption) message.Publisher { return e.Publisher(pub) },
		stored: func(ctx context.Context) ([]string, error) {
			entries, err := client.XRange(ctx, topic, "-", "+").Result()
			return payloads(entries), err
		},
		clear: func(ctx context.Context) error { return client.Del(ctx, topic, dead).Err() },
		close: func() error { return errors.Join(events.Close(), plain.Close(), pub.Close(), client.Close()) },
	}, nil
}

func payloads(entries []redis.XMessage) (all []string) {
	for _, entry := range entries {
		if payload, ok := entry.Values["payload"].(string); ok {
			all = append(all, payload)
		}
	}
	return all
}
