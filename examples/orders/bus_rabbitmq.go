package main

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-go/leat/eventbus/rabbitbus"
)

// leatRabbitMQ is leat's own bus on RabbitMQ: the topic is the exchange, the
// group's events are in the queue {topic}.{group}.
func leatRabbitMQ() backend {
	return backend{
		name:  "rabbitmq",
		title: "RabbitMQ, by leat's rabbitbus",
		uses:  []string{"rabbitmq", "worker", "workers"},
		check: func(o options) []error {
			if err := (rabbitbus.ClientConfig{URL: o.rabbitmq}).Validate(); err != nil {
				return []error{fmt.Errorf("-rabbitmq: %w", err)}
			}
			return nil
		},
		takeover: 0, // RabbitMQ sees at once that a connection is gone
		open: func(ctx context.Context, s setup) (opened, error) {
			bus, err := rabbitbus.Open(ctx, rabbitbus.Config{
				URL: s.rabbitmq, ExchangeName: s.topic, ConsumerGroup: s.group, ConsumerName: s.consumer,
				Concurrency: s.concurrency, Registry: s.registry,
				Retry: s.retry, HandlerMiddleware: s.around, Logger: s.logger,
			})
			if err != nil {
				return opened{}, err
			}
			return opened{
				bus: bus, group: rabbitGroup{bus},
				close: func() error { return nil }, // Shutdown closes what Open opened
			}, nil
		},
	}
}

// rabbitGroup asks RabbitMQ about the group's queue. AMQP tells how many events
// wait in it, and how many consumers there are: neither their names, nor what
// they have in hand.
type rabbitGroup struct{ bus *rabbitbus.Bus }

func (g rabbitGroup) unsettled(ctx context.Context) (int64, error) {
	info, err := g.bus.QueueInfo(ctx)
	if err != nil {
		return -1, err
	}
	mine := g.bus.TransportStats().Consumer.InFlight
	if info.Messages+mine == 0 && info.Consumers > 1 {
		return -1, nil
	}
	return int64(info.Messages + mine), nil
}

func (rabbitGroup) active(context.Context, time.Duration) ([]string, error) { return nil, nil }
