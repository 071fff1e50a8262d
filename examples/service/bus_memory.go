package main

import (
	"context"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
)

// memory is for development: a request is answered when its handlers have run,
// which are tried again soon, before it is given up.
func memory() backend {
	return backend{
		name:  "memory",
		check: func(settings) error { return nil },
		open: func(_ context.Context, p parts) (eventbus.AnyBus, error) {
			return membus.New(membus.Config{
				Name: p.topic, Group: p.group, DrainTimeout: p.stop, Retry: middleware.Retry{BaseDelay: 100 * time.Millisecond},
				Registry: p.registry, HandlerMiddleware: p.around, MeterProvider: p.metrics, Logger: p.log,
			})
		},
	}
}
