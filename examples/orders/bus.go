package main

import (
	"context"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// orderBus is what the program needs of a bus: an *eventbus.Bus has it, and
// so has every backend's bus, which embeds one.
type orderBus interface {
	eventbus.AnyBus
	Chain() string
	HandlerStats() []eventbus.HandlerStats
	DeadLetters() *dlq.Queue
}

// setup is what every bus is opened with: nothing in it knows which one.
type setup struct {
	options
	registry *eventbus.Registry
	retry    middleware.Retry
	around   []message.HandlerMiddleware // around each attempt of each handler
	logger   *slog.Logger                // nil: silence
}

// backend is one value of the flag -bus; each has a file of its own.
type backend struct {
	name  string
	title string                  // for the first line of the output
	uses  []string                // flags that only some have
	check func(o options) []error // of those flags; nil: nothing to check
	// open returns the bus and what closes its connections after Shutdown.
	open func(ctx context.Context, s setup) (orderBus, func() error, error)
}

func backends() []backend { return []backend{memory(), watermillRedis()} }

func names() []string {
	var all []string
	for _, b := range backends() {
		all = append(all, b.name)
	}
	return all
}
