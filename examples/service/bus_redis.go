package main

import (
	"context"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
)

// redis is Redis Streams.
func redis() backend {
	config := func(p parts) redisbus.Config {
		return redisbus.Config{
			URL: p.url, StreamPrefix: p.topic, ConsumerGroup: p.group, ConsumerName: p.instance, Concurrency: p.concurrency, DrainTimeout: p.stop,
			Registry: p.registry, HandlerMiddleware: p.around, MeterProvider: p.metrics, Logger: p.log,
		}
	}
	return backend{
		name:  "redis",
		check: func(s settings) error { return config(parts{settings: s}).Validate() },
		open: func(ctx context.Context, p parts) (eventbus.AnyBus, error) {
			return redisbus.Open(ctx, config(p))
		},
	}
}
