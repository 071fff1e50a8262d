package tracing_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware/tracing"
)

// stock is a Watermill router on a gochannel, and nothing of leat but the
// tracer.
type stock struct {
	*message.Router
	channel *gochannel.GoChannel
	stopped chan error
}

func newStock(t *testing.T) *stock {
	t.Helper()
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	return &stock{
		Router:  r,
		channel: gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{}),
		stopped: make(chan error, 1),
	}
}

func (s *stock) run(t *testing.T) {
	t.Helper()
	go func() { s.stopped <- s.Run(context.Background()) }()
	<-s.Running()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-s.stopped; err != nil {
			t.Error(err)
		}
		if err := s.channel.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestTree_PublishConsumeHandleOnAStockRouter(t *testing.T) {
	t.Parallel()
	r, s := newRig(t), newStock(t)
	tracer := r.tracer(tracing.Config{System: "memory", Group: "billing"})
	s.AddMiddleware(tracer.Consume, tracer.Handle)
	s.AddPublisherDecorators(tracer.PublisherDecorator)
	s.AddHandler("send-invoice", "orders", s.channel, "invoices", s.channel,
		func(*message.Message) ([]*message.Message, error) {
			out := message.NewMessage("2", []byte("{}"))
			out.Metadata.Set(wire.EventType, "InvoiceSent")
			return []*message.Message{out}, nil
		})
	s.AddConsumerHandler("archive", "invoices", s.channel, func(*message.Message) error { return nil })
	s.run(t)

	ctx, root := r.begin(context.Background(), "request")
	msg := event()
	msg.SetContext(ctx)
	if err := tracer.Publisher(s.channel).Publish("orders", msg); err != nil {
		t.Fatal(err)
	}
	root.End()
	// Publish returned when send-invoice was acked; the rest is awaited.
	await(t, "the archive's span", func() bool { return len(r.all("memory.consume InvoiceSent")) == 1 })

	publish, consume, handle := r.one(t, "memory.publish OrderPlaced"), r.one(t, "memory.consume OrderPlaced"), r.one(t, "handle send-invoice")
	childOf(t, publish, root.SpanContext())
	childOf(t, consume, publish.SpanContext)
	childOf(t, handle, consume.SpanContext)
	if !consume.Parent.IsRemote() {
		t.Error("the consumer's parent did not come over the wire")
	}
	again := r.one(t, "memory.publish InvoiceSent")
	if again.Parent.SpanID() != handle.SpanContext.SpanID() {
		t.Errorf("what the handler returned was published under %s, want under its handle span %s",
			again.Parent.SpanID(), handle.SpanContext.SpanID())
	}
	childOf(t, r.one(t, "memory.consume InvoiceSent"), again.SpanContext)
	childOf(t, r.one(t, "handle archive"), r.one(t, "memory.consume InvoiceSent").SpanContext)

	for span, kind := range map[string]trace.SpanKind{
		publish.Name: trace.SpanKindProducer, consume.Name: trace.SpanKindConsumer, handle.Name: trace.SpanKindInternal,
	} {
		if got := r.one(t, span); got.SpanKind != kind || got.Status.Code != codes.Unset {
			t.Errorf("span %q has kind %v and status %v, want %v and unset", span, got.SpanKind, got.Status, kind)
		}
		if scope := r.one(t, span).InstrumentationScope; scope.Name != tracing.ScopeName || scope.SchemaURL != "https://opentelemetry.io/schemas/1.43.0" {
			t.Errorf("span %q has scope %+v", span, scope)
		}
	}
	message := map[string]string{
		"messaging.system": "memory", "messaging.destination.name": "orders",
		"messaging.message.id":        "0196f0c4-0000-7000-8000-000000000001",
		"messaging.message.body.size": "11", "messaging.message.conversation_id": "c-1",
		"leat.event.type": "OrderPlaced", "leat.aggregate.id": "order-7",
	}
	sameAttrs(t, "publish", publish.Attributes, merge(message, map[string]string{
		"messaging.operation.name": "publish", "messaging.operation.type": "send",
	}))
	sameAttrs(t, "consume", consume.Attributes, merge(message, map[string]string{
		"messaging.operation.name": "consume", "messaging.operation.type": "process", "messaging.consumer.group.name": "billing",
	}))
	sameAttrs(t, "handle", handle.Attributes, map[string]string{
		"messaging.system": "memory", "messaging.destination.name": "orders", "messaging.consumer.group.name": "billing",
		"leat.handler": "send-invoice", "leat.attempt": "1", "leat.event.type": "OrderPlaced",
	})
}

func TestTree_EachAttemptIsASpan(t *testing.T) {
	t.Parallel()
	r, s := newRig(t), newStock(t)
	tracer := r.tracer(tracing.Config{System: "memory"})
	s.AddMiddleware(tracer.Consume, twice, tracer.Handle)
	failures := 2
	s.AddConsumerHandler("send-invoice", "orders", s.channel, func(*message.Message) error {
		if failures--; failures >= 0 {
			return errors.New("printer on fire")
		}
		return nil
	})
	s.run(t)
	if err := tracer.Publisher(s.channel).Publish("orders", event()); err != nil {
		t.Fatal(err)
	}

	consume := r.one(t, "memory.consume OrderPlaced")
	if consume.Status.Code != codes.Unset {
		t.Errorf("the delivery succeeded in the end, but its span has status %+v", consume.Status)
	}
	handles := r.all("handle send-invoice")
	if len(handles) != 3 {
		t.Fatalf("%d handle spans, want one for each of 3 attempts", len(handles))
	}
	for i, h := range handles {
		childOf(t, h, consume.SpanContext)
		if got := attrs(h.Attributes)["leat.attempt"]; got != []string{"1", "2", "3"}[i] {
			t.Errorf("attempt %d says it is attempt %s", i+1, got)
		}
		if failed := h.Status.Code == codes.Error; failed != (i < 2) {
			t.Errorf("attempt %d has status %+v", i+1, h.Status)
		}
	}
}

// twice retries as Watermill's own middleware does, which knows nothing of us.
func twice(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		out, err := h(msg)
		for i := 0; err != nil && i < 2; i++ {
			out, err = h(msg)
		}
		return out, err
	}
}

func TestTree_AmbientContextIsNotThePublishSpan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "memory"})
	publishing, a := r.begin(context.Background(), "publisher's")
	consuming, b := r.begin(context.Background(), "subscriber's")
	defer a.End()
	defer b.End()

	msg := event()
	p := tracer.StartPublish(publishing, msg)
	p.End(nil)
	msg.SetContext(consuming)
	if _, err := tracer.Consume(done)(msg); err != nil {
		t.Fatal(err)
	}

	publish := r.one(t, "memory.publish OrderPlaced")
	childOf(t, publish, a.SpanContext())
	consume := r.one(t, "memory.consume OrderPlaced")
	childOf(t, consume, publish.SpanContext)
	if len(consume.Links) != 0 {
		t.Errorf("the consumer's span has links %v, want none", consume.Links)
	}
	if msg.Context() != consuming {
		t.Error("Consume left its context in the message")
	}
}

func TestTree_BatchHasATraceForEachMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "kafka", Topic: "orders"})
	msgs := []*message.Message{event(), event(), event()}
	for i, id := range []string{"a", "b", "c"} {
		msgs[i].UUID = id
	}
	broken := errors.New("leader not available")
	p := tracer.StartPublish(context.Background(), msgs...)
	p.EndEach([]error{nil, broken})
	p.End(broken) // too late: ignored

	spans := map[string]trace.SpanContext{}
	for _, s := range r.all("kafka.publish OrderPlaced") {
		id := attrs(s.Attributes)["messaging.message.id"]
		spans[id] = s.SpanContext
		if failed := s.Status.Code == codes.Error; failed != (id == "b") {
			t.Errorf("span of message %s has status %+v", id, s.Status)
		}
	}
	if len(spans) != 3 {
		t.Fatalf("%d publish spans of 3 messages", len(spans))
	}
	for _, msg := range msgs {
		r.spans.Reset()
		if _, err := tracer.Consume(done)(msg); err != nil {
			t.Fatal(err)
		}
		childOf(t, r.one(t, "kafka.consume OrderPlaced"), spans[msg.UUID])
	}
}

func merge(a, b map[string]string) map[string]string {
	m := map[string]string{}
	for _, from := range []map[string]string{a, b} {
		for k, v := range from {
			m[k] = v
		}
	}
	return m
}
