package tracing_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware/tracing"
)

// carriedBy reads the span context that a message carries.
func carriedBy(t *testing.T, msg *message.Message) trace.SpanContext {
	t.Helper()
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier(msg.Metadata))
	return trace.SpanContextFromContext(ctx)
}

func TestReplay_IsLinkedToTheFirstPublishing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis", Topic: "orders"})
	msg := event()
	p := tracer.StartPublish(context.Background(), msg)
	p.End(nil)
	first := r.one(t, "redis.publish OrderPlaced").SpanContext
	carried := msg.Metadata[wire.TraceParent]
	r.spans.Reset()

	msg.Metadata[wire.ReplayCount] = "1"
	operator, span := r.begin(context.Background(), "operator")
	defer span.End()
	p = tracer.StartPublish(operator, msg)
	p.End(nil)
	again := r.one(t, "redis.publish OrderPlaced")
	childOf(t, again, span.SpanContext())
	if len(again.Links) != 1 || again.Links[0].SpanContext.SpanID() != first.SpanID() {
		t.Errorf("the replay's publish span has links %+v, want one to the first publishing", again.Links)
	}
	if got := msg.Metadata[wire.TraceParent]; got != carried {
		t.Errorf("the replay carries %s, want what it carried before: %s", got, carried)
	}

	if _, err := tracer.Consume(done)(msg); err != nil {
		t.Fatal(err)
	}
	consume := r.one(t, "redis.consume OrderPlaced")
	rootLinkedTo(t, consume, first)
	if got := attrs(consume.Attributes)["leat.replays"]; got != "1" {
		t.Errorf("leat.replays = %q, want 1", got)
	}
}

func TestLetter_KeepsTheContextItCarries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis", Topic: "orders_dlq"})
	letter := event()
	letter.Metadata[wire.TraceParent] = remote
	letter.Metadata["dlq_reason"] = "permanent_error"
	origin := carriedBy(t, letter)

	p := tracer.StartPublish(context.Background(), letter)
	p.End(nil)

	rootLinkedTo(t, r.one(t, "redis.publish OrderPlaced"), origin)
	if got := letter.Metadata[wire.TraceParent]; got != remote {
		t.Errorf("the letter carries %s, want %s", got, remote)
	}
}

func TestForeign_StartsACleanTrace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "rabbitmq", Topic: "orders"})

	bare := &message.Message{Payload: []byte("x")} // no UUID, nil metadata
	if _, err := tracer.Consume(done)(bare); err != nil {
		t.Fatal(err)
	}
	span := r.one(t, "rabbitmq.consume orders") // no event type: named by its destination
	rootLinkedTo(t, span)
	sameAttrs(t, "consume", span.Attributes, map[string]string{
		"messaging.system": "rabbitmq", "messaging.destination.name": "orders", "messaging.message.body.size": "1",
		"messaging.operation.name": "consume", "messaging.operation.type": "process",
	})

	r.spans.Reset()
	subscriber, ambient := r.begin(context.Background(), "subscriber's")
	defer ambient.End()
	bare.SetContext(subscriber)
	if _, err := tracer.Consume(done)(bare); err != nil {
		t.Fatal(err)
	}
	rootLinkedTo(t, r.one(t, "rabbitmq.consume orders"), ambient.SpanContext())
}

func TestHostileContext_StartsACleanTrace(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0", 1<<20)
	for name, m := range map[string]message.Metadata{
		"text":              {wire.TraceParent: "not a traceparent"},
		"zero ids":          {wire.TraceParent: "00-00000000000000000000000000000000-0000000000000000-01"},
		"version ff":        {wire.TraceParent: "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		"upper case":        {wire.TraceParent: strings.ToUpper(remote)},
		"cut":               {wire.TraceParent: remote[:40]},
		"NUL and new lines": {wire.TraceParent: "\x00\r\n", wire.TraceState: "\x00=\n", wire.Baggage: "\xff=\xff"},
		"1 MB":              {wire.TraceParent: long, wire.TraceState: long, wire.Baggage: long},
		"new version, 1 MB": {wire.TraceParent: "01" + remote[2:] + "-" + long},
		"valid, then 1 MB":  {wire.TraceParent: remote + "-" + long},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			tracer := r.tracer(tracing.Config{System: "redis"})
			msg := event()
			for k, v := range m {
				msg.Metadata[k] = v
			}
			ran := 0
			_, err := tracer.Consume(func(*message.Message) ([]*message.Message, error) { ran++; return nil, nil })(msg)
			if err != nil || ran != 1 {
				t.Fatalf("the handler ran %d times, error %v", ran, err)
			}
			rootLinkedTo(t, r.one(t, "redis.consume OrderPlaced"))

			p := tracer.StartPublish(context.Background(), msg)
			p.End(nil)
			if got, want := carriedBy(t, msg).SpanID(), r.one(t, "redis.publish OrderPlaced").SpanContext.SpanID(); got != want {
				t.Errorf("published on, it carries span %s, want its own %s", got, want)
			}
			if got := len(msg.Metadata[wire.TraceState]); got != 0 {
				t.Errorf("%d bytes of tracestate are published on, want none", got)
			}
		})
	}
}

func TestHostileEvent_IsCutAndMadeUTF8(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	msg := event()
	msg.UUID = strings.Repeat("é", 1<<10)
	msg.Metadata[wire.EventType] = strings.Repeat("x", 127) + "é" + strings.Repeat("y", 1<<20)
	msg.Metadata[wire.AggregateID] = "a\xffb"
	if _, err := tracer.Consume(done)(msg); err != nil {
		t.Fatal(err)
	}
	span := r.one(t, "redis.consume "+strings.Repeat("x", 127)) // a cut é is left out
	got := attrs(span.Attributes)
	if want := strings.Repeat("é", 128); got["messaging.message.id"] != want {
		t.Errorf("messaging.message.id = %q, want 128 é", got["messaging.message.id"])
	}
	if want := "a\uFFFDb"; got["leat.aggregate.id"] != want {
		t.Errorf("leat.aggregate.id = %q, want %q", got["leat.aggregate.id"], want)
	}
	if n := len(got["leat.event.type"]); n > 256 {
		t.Errorf("leat.event.type has %d bytes, want at most 256", n)
	}
}

func TestForward_GoesOnFromTheHandler(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	msg := event()
	msg.Metadata[wire.TraceParent] = remote
	msg.Metadata[wire.TraceState] = "vendor=1"
	sink := &recorder{}
	msg.SetContext(context.Background()) // outside of a router a handler has no name
	forward := tracer.Consume(tracer.Handle(func(msg *message.Message) ([]*message.Message, error) {
		return []*message.Message{msg}, nil
	}))
	out, err := forward(msg)
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Publisher(sink).Publish("next", out...); err != nil {
		t.Fatal(err)
	}
	publish := r.one(t, "redis.publish OrderPlaced")
	childOf(t, publish, r.one(t, "handle").SpanContext)
	if got := carriedBy(t, msg).SpanID(); got != publish.SpanContext.SpanID() {
		t.Errorf("the forwarded message carries span %s, want %s", got, publish.SpanContext.SpanID())
	}
}

func TestForward_WithoutASpanContinuesTheCarriedTrace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	msg := event()
	msg.Metadata[wire.TraceParent] = remote
	origin := carriedBy(t, msg)
	p := tracer.StartPublish(context.Background(), msg)
	p.End(nil)
	childOf(t, r.one(t, "redis.publish OrderPlaced"), origin)
}

func TestForward_IntoAnotherTraceIsLinked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	msg := event()
	msg.Metadata[wire.TraceParent] = remote
	msg.Metadata[wire.TraceState] = "vendor=1"
	origin := carriedBy(t, msg)
	ctx, job := r.begin(context.Background(), "job")
	defer job.End()
	p := tracer.StartPublish(ctx, msg)
	p.End(nil)
	publish := r.one(t, "redis.publish OrderPlaced")
	childOf(t, publish, job.SpanContext())
	if len(publish.Links) != 1 || publish.Links[0].SpanContext.SpanID() != origin.SpanID() {
		t.Errorf("links = %+v, want one to the context that the message carried", publish.Links)
	}
	if got, ok := msg.Metadata[wire.TraceState]; ok {
		t.Errorf("the other trace's tracestate %q is still on the message", got)
	}
}

func TestPublishAgain_InTheSameTraceIsNotLinked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	ctx, request := r.begin(context.Background(), "request")
	defer request.End()
	msg := event()
	for range 2 { // the second time it carries the first one's span
		p := tracer.StartPublish(ctx, msg)
		p.End(nil)
	}
	spans := r.all("redis.publish OrderPlaced")
	for _, s := range spans {
		childOf(t, s, request.SpanContext())
		if len(s.Links) != 0 {
			t.Errorf("links = %+v, want none", s.Links)
		}
	}
	if got, want := carriedBy(t, msg).SpanID(), spans[1].SpanContext.SpanID(); got != want {
		t.Errorf("the message carries span %s, want that of its second publishing %s", got, want)
	}
}

func TestBaggage_TravelsWithTheMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	member, err := baggage.NewMember("tenant", "acme")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	msg := event()
	p := tracer.StartPublish(baggage.ContextWithBaggage(context.Background(), bag), msg)
	p.End(nil)
	var out []*message.Message
	out, err = tracer.Consume(tracer.Handle(func(msg *message.Message) ([]*message.Message, error) {
		if got := baggage.FromContext(msg.Context()).Member("tenant").Value(); got != "acme" {
			t.Errorf("baggage tenant = %q in the handler, want acme", got)
		}
		return []*message.Message{message.NewMessage("2", nil)}, nil
	}))(msg)
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Publisher(&recorder{}).Publish("next", out...); err != nil {
		t.Fatal(err)
	}
	if got := out[0].Metadata[wire.Baggage]; got != "tenant=acme" {
		t.Errorf("baggage of the returned message = %q, want tenant=acme", got)
	}
}
