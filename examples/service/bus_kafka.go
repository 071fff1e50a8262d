package main

import (
	"context"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

// kafka is Apache Kafka.
func kafka() backend {
	config := func(p parts) kafkabus.Config {
		return kafkabus.Config{
			BootstrapServers: p.url, TopicPrefix: p.topic, ConsumerGroup: p.group, ConsumerName: p.instance, Concurrency: p.concurrency, DrainTimeout: p.stop,
			Registry: p.registry, HandlerMiddleware: p.around, MeterProvider: p.metrics, Logger: p.log,
		}
	}
	return backend{
		name:  "kafka",
		check: func(s settings) error { return config(parts{settings: s}).Validate() },
		open: func(ctx context.Context, p parts) (eventbus.AnyBus, error) {
			return kafkabus.Open(ctx, config(p))
		},
	}
}
