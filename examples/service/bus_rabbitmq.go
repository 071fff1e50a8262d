package main

import (
	"context"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
)

// rabbitmq is RabbitMQ.
func rabbitmq() backend {
	config := func(p parts) rabbitbus.Config {
		return rabbitbus.Config{
			URL: p.url, ExchangeName: p.topic, ConsumerGroup: p.group, ConsumerName: p.instance, Concurrency: p.concurrency, DrainTimeout: p.stop,
			Registry: p.registry, HandlerMiddleware: p.around, MeterProvider: p.metrics, Logger: p.log,
		}
	}
	return backend{
		name:  "rabbitmq",
		check: func(s settings) error { return config(parts{settings: s}).Validate() },
		open: func(ctx context.Context, p parts) (eventbus.AnyBus, error) {
			return rabbitbus.Open(ctx, config(p))
		},
	}
}
