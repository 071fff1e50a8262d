package main

import (
	"context"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/metric"

	"github.com/leat-go/leat/eventbus"
)

// backend is one value of SERVICE_BUS; each has a file of its own. A service of
// yours keeps one file, and links the client of that one broker.
type backend struct {
	name  string
	check func(settings) error
	open  func(context.Context, parts) (eventbus.AnyBus, error)
}

// parts are what a bus is opened with: nothing in it knows which one.
type parts struct {
	settings
	around  []message.HandlerMiddleware // around each attempt of each handler
	metrics metric.MeterProvider
	log     *slog.Logger
}

func backends() []backend { return []backend{memory(), redis(), rabbitmq(), kafka()} }
