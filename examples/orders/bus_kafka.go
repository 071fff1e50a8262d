package main

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// partitions of the topics, if they are made here: so many processes can share
// the events.
const partitions = 8

// leatKafka is leat's own bus on Apache Kafka: the topic is the prefix of the
// topics {topic}.stream and {topic}.stream.dlq.
func leatKafka() backend {
	return backend{
		name:  "kafka",
		title: "Apache Kafka, by leat's kafkabus",
		uses:  []string{"kafka", "worker", "workers"},
		check: func(o options) []error {
			if err := (kafkabus.ClientConfig{BootstrapServers: o.kafka}).Validate(); err != nil {
				return []error{fmt.Errorf("-kafka: %w", err)}
			}
			return nil
		},
		takeover: deadAfter,
		open: func(ctx context.Context, s setup) (opened, error) {
			bus, err := kafkabus.Open(ctx, kafkabus.Config{
				BootstrapServers: s.kafka, TopicPrefix: s.topic, Topics: kafkabus.TopicConfig{Partitions: partitions},
				ConsumerGroup: s.group, ConsumerName: s.consumer,
				SessionTimeout: deadAfter, HeartbeatInterval: deadAfter / 5,
				Concurrency: s.concurrency, Registry: s.registry,
				Retry: s.retry, HandlerMiddleware: s.around, Logger: s.logger,
			})
			if err != nil {
				return opened{}, err
			}
			return opened{
				bus: bus, group: kafkaGroup{bus},
				close: func() error { return nil }, // Shutdown closes what Open opened
			}, nil
		},
	}
}

// kafkaGroup asks Kafka about the consumer group.
type kafkaGroup struct{ bus *kafkabus.Bus }

func (g kafkaGroup) unsettled(ctx context.Context) (int64, error) { return g.bus.Lag(ctx) }

// active names those that are members now: of others Kafka remembers nothing.
func (g kafkaGroup) active(ctx context.Context, _ time.Duration) ([]string, error) {
	info, err := g.bus.TopicInfo(ctx)
	return info.Consumers, err
}
