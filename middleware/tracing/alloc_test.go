package tracing_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/middleware/tracing"
)

// Tests of this file do not install a global SDK; no test of this package does.

func silent() map[string]*tracing.Tracer {
	return map[string]*tracing.Tracer{
		"no SDK":   tracing.New(tracing.Config{System: "memory"}),
		"disabled": tracing.New(tracing.Config{System: "memory", Disabled: true}),
		"noop": tracing.New(tracing.Config{
			TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(),
		}),
	}
}

func event() *message.Message {
	msg := message.NewMessage("0196f0c4-0000-7000-8000-000000000001", []byte(`{"total":3}`))
	msg.Metadata = message.Metadata{
		wire.EventID: msg.UUID, wire.EventType: "OrderPlaced", wire.EventVersion: "1",
		wire.AggregateID: "order-7", wire.AggregateType: "Order", wire.AggregateVersion: "1",
		wire.OccurredAt: "2026-01-02T03:04:05.000000+00:00", wire.CorrelationID: "c-1",
	}
	msg.SetContext(middleware.WithHandlerName(context.Background(), "send-invoice"))
	return msg
}

func done(*message.Message) ([]*message.Message, error) { return nil, nil }

func TestTracer_AllocatesNothingWithoutSDK(t *testing.T) {
	for name, tracer := range silent() {
		t.Run(name, func(t *testing.T) {
			msg, ctx := event(), context.Background()
			batch := []*message.Message{msg, event(), event()}
			consume, handle := tracer.Consume(done), tracer.Handle(done)
			for what, f := range map[string]func(){
				"Consume": func() { _, _ = consume(msg) },
				"Handle":  func() { _, _ = handle(msg) },
				"StartPublish of one": func() {
					p := tracer.StartPublish(ctx, msg)
					p.End(nil)
				},
				"StartPublish of a batch": func() {
					p := tracer.StartPublish(ctx, batch...)
					p.EndEach(nil)
				},
			} {
				if n := testing.AllocsPerRun(1000, f); n != 0 {
					t.Errorf("%s: %v allocations, want 0", what, n)
				}
			}
		})
	}
}

const remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTracer_HandsOnTheCarriedContextWithoutSDK(t *testing.T) {
	for name, tracer := range silent() {
		t.Run(name, func(t *testing.T) {
			msg := event()
			before := msg.Context()
			msg.Metadata[wire.TraceParent] = remote
			out := event()
			_, err := tracer.Consume(func(msg *message.Message) ([]*message.Message, error) {
				if got := trace.SpanContextFromContext(msg.Context()).SpanID().String(); got != "b7ad6b7169203331" {
					t.Errorf("span in the handler's context = %s, want the carried one", got)
				}
				p := tracer.StartPublish(msg.Context(), out)
				p.End(nil)
				return nil, nil
			})(msg)
			if err != nil {
				t.Fatal(err)
			}
			if out.Metadata[wire.TraceParent] != remote {
				t.Errorf("published traceparent = %q, want the carried one", out.Metadata[wire.TraceParent])
			}
			if msg.Context() != before {
				t.Error("Consume left its context in the message")
			}
		})
	}
}
