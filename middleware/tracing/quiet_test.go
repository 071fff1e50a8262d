package tracing_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware/tracing"
)

func TestPublisher_WithoutSDKHandsOnTheContext(t *testing.T) {
	for name, tracer := range silent() {
		t.Run(name, func(t *testing.T) {
			with := propagation.MapCarrier{wire.TraceParent: remote, wire.Baggage: "tenant=acme"}
			ctx := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}).
				Extract(context.Background(), with)
			sink := &recorder{}
			bare := &message.Message{} // nil metadata
			bare.SetContext(ctx)
			own := event()
			own.Metadata[wire.TraceParent] = "00-11111111111111111111111111111111-2222222222222222-01"
			own.SetContext(ctx)
			other := event()
			if err := tracer.Publisher(sink).Publish("orders", bare, own, other); err != nil {
				t.Fatal(err)
			}
			if bare.Metadata[wire.TraceParent] != remote || bare.Metadata[wire.Baggage] != "tenant=acme" {
				t.Errorf("metadata = %v, want the context that the publisher was called in", bare.Metadata)
			}
			if got := own.Metadata[wire.TraceParent]; got != "00-11111111111111111111111111111111-2222222222222222-01" {
				t.Errorf("traceparent = %q, want the message's own", got)
			}
			if got, ok := other.Metadata[wire.TraceParent]; ok {
				t.Errorf("traceparent = %q, want none", got)
			}
			pub, batch := tracer.Publisher(discard{}), []*message.Message{other, other}
			if n := testing.AllocsPerRun(1000, func() { _ = pub.Publish("orders", batch...) }); n != 0 {
				t.Errorf("%v allocations, want 0", n)
			}
		})
	}
}

func TestConsume_ABrokenContextLeavesTheAmbientOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, ambient := r.begin(context.Background(), "ambient")
	defer ambient.End()
	for name, tracer := range silent() {
		msg := event()
		msg.Metadata[wire.TraceParent] = "broken"
		msg.SetContext(ctx)
		_, err := tracer.Consume(func(msg *message.Message) ([]*message.Message, error) {
			if got := trace.SpanContextFromContext(msg.Context()); !got.Equal(ambient.SpanContext()) {
				t.Errorf("%s: span in the handler's context = %v, want the ambient one", name, got)
			}
			return nil, nil
		})(msg)
		if err != nil {
			t.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Publish(string, ...*message.Message) error { return nil }
func (discard) Close() error                              { return nil }

func TestUnsampled_IsCarriedAllTheSame(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.NeverSample()))
	tracer := tracing.New(tracing.Config{TracerProvider: provider})
	msg := event()
	p := tracer.StartPublish(context.Background(), msg)
	p.End(errors.New("refused"))
	sc := carriedBy(t, msg)
	if !sc.IsValid() || sc.IsSampled() {
		t.Errorf("carried span context %v, want a valid one that is not sampled", sc)
	}
	_, err := tracer.Consume(tracer.Handle(func(msg *message.Message) ([]*message.Message, error) {
		if got := trace.SpanContextFromContext(msg.Context()); got.TraceID() != sc.TraceID() {
			t.Errorf("the handler is in trace %s, want %s", got.TraceID(), sc.TraceID())
		}
		return nil, errors.New("failed")
	}))(msg)
	if err == nil {
		t.Error("the handler's error is gone")
	}
	if got := spans.GetSpans(); len(got) != 0 {
		t.Errorf("%d spans, want none", len(got))
	}
}

// shout is a propagator with a key of its own.
type shout struct{ propagation.TraceContext }

func (shout) Fields() []string { return []string{"X-Trace"} }

func (s shout) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	m := propagation.MapCarrier{}
	s.TraceContext.Inject(ctx, m)
	c.Set("X-Trace", m[wire.TraceParent])
}

func (s shout) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	for _, k := range c.Keys() {
		if k == "X-Trace" {
			return s.TraceContext.Extract(ctx, propagation.MapCarrier{wire.TraceParent: c.Get(k)})
		}
	}
	return ctx
}

func TestPropagator_OfTheUsersOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis", Propagator: shout{}})
	msg := event()
	p := tracer.StartPublish(context.Background(), msg)
	p.End(nil)
	if _, ok := msg.Metadata[wire.TraceParent]; ok || msg.Metadata["X-Trace"] == "" {
		t.Errorf("metadata = %v, want X-Trace and no traceparent", msg.Metadata)
	}
	if _, err := tracer.Consume(done)(msg); err != nil {
		t.Fatal(err)
	}
	childOf(t, r.one(t, "redis.consume OrderPlaced"), r.one(t, "redis.publish OrderPlaced").SpanContext)

	off := tracing.New(tracing.Config{Disabled: true, Propagator: shout{}})
	_, err := off.Consume(func(msg *message.Message) ([]*message.Message, error) {
		if !trace.SpanContextFromContext(msg.Context()).IsValid() {
			t.Error("the carried context did not reach the handler")
		}
		return nil, nil
	})(msg)
	if err != nil {
		t.Fatal(err)
	}
}

func TestObserve_AFailingQuestionLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop, err := r.tracer(tracing.Config{System: "redis"}).Observe(tracing.Observed{
		Lag:       func(context.Context) (int64, error) { return 9, errors.New("broker is away") },
		LanesBusy: func() int64 { return 2 },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.failing = true
	sameCounts(t, "leat.lanes.busy", r.count(t, "leat.lanes.busy"), map[string]int64{"messaging.system=redis": 2})
	sameCounts(t, "leat.lag", r.count(t, "leat.lag"), map[string]int64{})
	if err := stop(); err != nil {
		t.Error(err)
	}
}
