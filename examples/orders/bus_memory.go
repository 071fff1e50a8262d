package main

import (
	"context"

	"github.com/leat-go/leat/eventbus/membus"
)

// memory is the in-memory bus: Publish returns when every handler has run.
func memory() backend {
	return backend{
		name:  "memory",
		title: "the in-memory bus",
		open: func(_ context.Context, s setup) (opened, error) {
			bus, err := membus.New(membus.Config{
				Registry: s.registry, Name: s.topic, Group: s.group,
				Retry: s.retry, HandlerMiddleware: s.around, Logger: s.logger,
			})
			return opened{bus: bus, close: func() error { return nil }}, err
		},
	}
}
