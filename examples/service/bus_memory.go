package main

import (
	"context"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
)

// memory is for development: a request is answered when its handlers have run.
func memory() backend {
	return backend{
		name:  "memory",
		check: func(settings) error { return nil },
		open: func(_ context.Context, p parts) (eventbus.AnyBus, error) {
			return membus.New(membus.Config{
				Name: p.topic, Group: p.group, DrainTimeout: p.stop,
				Registry: p.registry, HandlerMiddleware: p.around, MeterProvider: p.metrics, Logger: p.log,
			})
		},
	}
}
