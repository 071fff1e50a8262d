package tracing

import (
	"reflect"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// liveTracer knows at every moment, at the price of two loads, whether spans
// are recorded by anybody. Asking the tracer itself would cost a span and a
// context per message: the API has no cheaper question.
type liveTracer struct {
	placeholder reflect.Type // of the global provider while no SDK is installed; nil when all is known
	tracer      atomic.Pointer[tracerBox]
}

type tracerBox struct{ trace.Tracer }

func (l *liveTracer) follow(p trace.TracerProvider) {
	if l.placeholder = placeholderType(p); l.placeholder == nil {
		l.use(p)
	}
}

// get returns the tracer to make spans with, and nil when nobody records any.
func (l *liveTracer) get() trace.Tracer {
	if b := l.tracer.Load(); b != nil {
		return b.Tracer
	}
	if l.placeholder == nil {
		return nil
	}
	p := otel.GetTracerProvider()
	if reflect.TypeOf(p) == l.placeholder {
		return nil
	}
	return l.use(p)
}

func (l *liveTracer) use(p trace.TracerProvider) trace.Tracer {
	if _, off := p.(tracenoop.TracerProvider); off {
		return nil
	}
	t := p.Tracer(ScopeName, trace.WithSchemaURL(schemaURL))
	l.tracer.Store(&tracerBox{t})
	return t
}

// liveMeter is the same for metrics. The instruments find an SDK that is
// installed late by themselves; this only spares asking each of them.
type liveMeter struct {
	placeholder reflect.Type
	on          atomic.Bool
}

func (l *liveMeter) follow(p metric.MeterProvider) {
	if l.placeholder = placeholderType(p); l.placeholder == nil {
		l.on.Store(measures(p))
	}
}

func (l *liveMeter) get() bool {
	if l.on.Load() {
		return true
	}
	if l.placeholder == nil {
		return false
	}
	p := otel.GetMeterProvider()
	if reflect.TypeOf(p) == l.placeholder || !measures(p) {
		return false
	}
	l.on.Store(true)
	return true
}

func measures(p metric.MeterProvider) bool {
	_, off := p.(metricnoop.MeterProvider)
	return !off
}

// placeholderType returns the type of p when p is what OpenTelemetry hands out
// as the global provider before an SDK is installed, else nil. Nothing exported
// tells; should the package ever move, spans still work and only cost more
// without an SDK, which the allocation tests would show.
func placeholderType(p any) reflect.Type {
	t := reflect.TypeOf(p)
	if t != nil && t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "go.opentelemetry.io/otel/internal/global" {
		return t
	}
	return nil
}
