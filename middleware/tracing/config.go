package tracing

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// Config says where telemetry goes and what it is called. The zero value
// follows the process's global OpenTelemetry providers.
type Config struct {
	// TracerProvider makes the spans. nil means the global one, also when it
	// is installed after New. The provider of package trace/noop turns spans
	// off and leaves the metrics on.
	TracerProvider trace.TracerProvider

	// MeterProvider makes the metrics. nil means the global one, also when it
	// is installed after New. The provider of package metric/noop turns the
	// metrics off and leaves the spans on.
	MeterProvider metric.MeterProvider

	// Propagator writes and reads the context in a message's metadata. nil
	// means W3C trace context and baggage, whatever the global propagator is,
	// because what stands on a wire must not depend on who reads it.
	Propagator propagation.TextMapPropagator

	// System is the messaging system, as the conventions name it: "kafka",
	// "rabbitmq", or "redis", "memory" and the like. Span names begin with it.
	// Empty means "watermill".
	System string

	// Topic is the destination of what StartPublish publishes and of what is
	// consumed. Empty means the topic of the Watermill router's handler. What
	// a publisher decorated by Publisher is called with comes before it, and so
	// does a middleware.Delivery in a message's context.
	Topic string

	// Group is the consumer group. Empty means none is told.
	Group string

	// Disabled turns spans and metrics off. A context that a message carries
	// still reaches its handler, and one that the publisher was called in
	// still reaches the message, exactly as without an SDK.
	Disabled bool
}

// DefaultSystem is the messaging system where Config names none.
const DefaultSystem = "watermill"

func (c Config) withDefaults() Config {
	if c.System == "" {
		c.System = DefaultSystem
	}
	if c.Propagator == nil {
		c.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	if c.Disabled {
		c.TracerProvider, c.MeterProvider = tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider()
	}
	if c.TracerProvider == nil {
		c.TracerProvider = otel.GetTracerProvider()
	}
	if c.MeterProvider == nil {
		c.MeterProvider = otel.GetMeterProvider()
	}
	return c
}
