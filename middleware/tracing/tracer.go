package tracing

import (
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
)

// Tracer makes the spans and metrics of one bus, or of one Watermill router.
// Its methods may be called from many goroutines at once. It starts no
// goroutine and holds nothing that must be closed: the providers are their
// owner's to shut down. [New] makes one; the zero value is not usable.
type Tracer struct {
	config     Config
	propagator propagation.TextMapPropagator
	fields     []string // metadata keys that say that a context is carried

	spans       liveTracer
	metrics     liveMeter
	instruments instruments

	endpoints  endpoints
	errorTypes vocabulary
	handlers   vocabulary
	reasons    vocabulary
}

// New returns a tracer. An instrument that the meter provider refuses is
// reported to OpenTelemetry's error handler and stays silent; the others work.
func New(c Config) *Tracer {
	c = c.withDefaults()
	t := &Tracer{config: c, propagator: c.Propagator, fields: carried(c.Propagator)}
	t.spans.follow(c.TracerProvider)
	t.metrics.follow(c.MeterProvider)
	t.instruments = newInstruments(c.MeterProvider.Meter(ScopeName, metric.WithSchemaURL(schemaURL)))
	t.endpoints.fallback = newEndpoint(endpointKey{system: c.System, topic: c.Topic, group: c.Group})
	return t
}

// Enabled reports whether spans or metrics go anywhere at this moment. Where
// it is false, nothing of what the tracer would read needs to be prepared.
func (t *Tracer) Enabled() bool { return t.spans.get() != nil || t.metrics.get() }
