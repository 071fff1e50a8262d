package main

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-go/leat/eventbus/redisbus"
)

// leatRedis is leat's own bus on Redis Streams: the topic is the prefix of the
// streams, {topic}:stream and {topic}:stream_dlq.
func leatRedis() backend {
	return backend{
		name:     "redis",
		title:    "Redis Streams, by leat's redisbus",
		uses:     []string{"redis", "worker", "workers"},
		takeover: deadAfter,
		check: func(o options) []error {
			if err := (redisbus.ClientConfig{URL: o.redis}).Validate(); err != nil {
				return []error{fmt.Errorf("-redis: %w", err)}
			}
			return nil
		},
		open: func(ctx context.Context, s setup) (opened, error) {
			bus, err := redisbus.Open(ctx, redisbus.Config{
				URL: s.redis, StreamPrefix: s.topic,
				ConsumerGroup: s.group, ConsumerName: s.consumer, PendingIdleTime: deadAfter,
				Concurrency: s.concurrency, Registry: s.registry,
				Retry: s.retry, HandlerMiddleware: s.around, Logger: s.logger,
			})
			if err != nil {
				return opened{}, err
			}
			// Each run has names of its own, and Redis remembers them for ever.
			// Without the right to run a script they stay: no harm.
			_, _ = bus.RemoveDeadConsumers(ctx, 10*time.Minute)
			return opened{
				bus: bus, group: redisGroup{stream: bus, name: s.group},
				close: func() error { return nil }, // Shutdown closes what Open opened
			}, nil
		},
	}
}

// redisGroup asks Redis about a consumer group; a *redisbus.Bus and a
// *redisbus.Inspector of any stream tell.
type redisGroup struct {
	stream interface {
		StreamInfo(ctx context.Context) (redisbus.StreamInfo, error)
		ConsumerInfo(ctx context.Context) ([]redisbus.ConsumerInfo, error)
	}
	name string
}

func (g redisGroup) unsettled(ctx context.Context) (int64, error) {
	info, err := g.stream.StreamInfo(ctx)
	if err != nil {
		return -1, err
	}
	for _, known := range info.ConsumerGroups {
		switch {
		case known.Name != g.name:
		case known.LastDeliveredID == info.Stream.LastEntryID:
			return known.Pending, nil
		case known.Lag == redisbus.UnknownLag:
			return -1, nil
		default:
			return known.Lag + known.Pending, nil
		}
	}
	return info.Stream.Length, nil // the group is still to come
}

func (g redisGroup) active(ctx context.Context, within time.Duration) ([]string, error) {
	consumers, err := g.stream.ConsumerInfo(ctx)
	var names []string
	for _, c := range consumers {
		if c.Idle < within {
			names = append(names, c.Name)
		}
	}
	return names, err
}
