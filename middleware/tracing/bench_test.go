package tracing_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware/tracing"
)

func BenchmarkWithoutSDK(b *testing.B) {
	tracer := silent()["no SDK"]
	msg, ctx := event(), context.Background()
	consume, handle := tracer.Consume(done), tracer.Handle(done)
	b.Run("bare handler", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = done(msg)
		}
	})
	b.Run("Consume", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = consume(msg)
		}
	})
	b.Run("Handle", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = handle(msg)
		}
	})
	b.Run("StartPublish", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p := tracer.StartPublish(ctx, msg)
			p.End(nil)
		}
	})
}

// BenchmarkWithSDK is mostly the SDK's own cost; nothing is exported.
func BenchmarkWithSDK(b *testing.B) {
	spans := sdktrace.NewTracerProvider()
	meters := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
	for name, c := range map[string]tracing.Config{
		"spans":     {TracerProvider: spans, MeterProvider: metricnoop.NewMeterProvider()},
		"unsampled": {TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())), MeterProvider: metricnoop.NewMeterProvider()},
		"metrics":   {TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: meters},
		"both":      {TracerProvider: spans, MeterProvider: meters},
	} {
		b.Run(name, func(b *testing.B) {
			tracer := tracing.New(c)
			chain := tracer.Consume(tracer.Handle(done))
			ctx, msg := context.Background(), event()
			b.Run("publish", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					delete(msg.Metadata, wire.TraceParent)
					p := tracer.StartPublish(ctx, msg)
					p.End(nil)
				}
			})
			batch := make([]*message.Message, 100)
			b.Run("publish a batch of 100", func(b *testing.B) {
				b.ReportAllocs()
				for i := range batch {
					batch[i] = event()
				}
				for b.Loop() {
					p := tracer.StartPublish(ctx, batch...)
					p.End(nil)
				}
			})
			b.Run("consume and handle", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = chain(msg)
				}
			})
		})
	}
}
