package tracing

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware"
)

// Consume is a [message.HandlerMiddleware] that makes one span for each
// delivery: the child of the publishing span whose context the message
// carries. A message without one starts a trace of its own, linked to the span
// in its context where there is one: that is the subscriber's, not the
// message's cause. The replay of a letter starts a trace of its own too, linked
// to the context that the letter carried.
//
// The span is in the context of the message while h runs, and then no more. It
// fails when h returns an error or panics. A delivery that was handed back at
// shutdown did not fail, nor did one that was discarded. Messages that h returns continue the trace.
//
// It stands outside of everything that handles errors, retries included: there
// it measures the whole delivery. Without an SDK it calls h, with the carried
// context where there is one, and allocates nothing.
func (t *Tracer) Consume(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		tracer, measured := t.spans.get(), t.metrics.get()
		if tracer != nil || measured {
			return t.consume(msg, h, tracer, measured)
		}
		if !t.carries(msg.Metadata) {
			return h(msg)
		}
		return t.hand(msg, h)
	}
}

// hand gives the carried context to h, and nothing else.
func (t *Tracer) hand(msg *message.Message, h message.HandlerFunc) (produced []*message.Message, err error) {
	before := msg.Context()
	ctx, _ := t.extract(before, msg.Metadata)
	msg.SetContext(ctx)
	defer func() { leave(before, ctx, msg, produced) }()
	return h(msg)
}

func (t *Tracer) consume(
	msg *message.Message, h message.HandlerFunc, tracer trace.Tracer, measured bool,
) (produced []*message.Message, err error) {
	before := msg.Context()
	delivery := middleware.DeliveryFrom(before)
	e := t.endpoints.get(t.consumedFrom(before, delivery))

	ctx, carried := t.extract(before, msg.Metadata)
	span := trace.Span(nil)
	if tracer != nil {
		ctx, span = tracer.Start(ctx, e.consumeSpanName(msg.Metadata[wire.EventType]), t.consumeOptions(before, carried, e, msg)...)
		if span.IsRecording() {
			span.SetAttributes(messageAttributes(msg)...)
			span.SetAttributes(deliveryAttributes(e.key.system, delivery)...)
			ctx = withAttempts(ctx)
		}
	}
	started := time.Time{}
	if measured {
		started = time.Now()
		t.instruments.arrived(ctx, e, msg.Metadata, started)
	}

	msg.SetContext(ctx)
	returned := false
	defer func() {
		leave(before, ctx, msg, produced)
		errorType := t.finish(span, err, returned)
		if measured {
			t.instruments.left(ctx, e, time.Since(started), errorType)
		}
	}()
	produced, err = h(msg)
	returned = true
	return produced, err
}

// finish ends span, where there is one, by what h returned, and names the kind
// of error for the metrics.
func (t *Tracer) finish(span trace.Span, err error, returned bool) (errorType string) {
	switch {
	case !returned:
		errorType = errorPanic
		if span != nil {
			panicked(span)
		}
	case errors.Is(err, middleware.ErrHandedBack):
		if span != nil {
			span.AddEvent(eventHandedBack)
		}
	case err != nil && middleware.IsDiscard(err):
		if span != nil && span.IsRecording() {
			except(span, err, t.errorType(err))
		}
	case err != nil:
		errorType = t.errorType(err)
		if span != nil {
			fail(span, err, errorType)
		}
	}
	if span != nil {
		span.End()
	}
	return errorType
}

func (t *Tracer) consumeOptions(
	ambient context.Context, carried trace.SpanContext, e *endpoint, msg *message.Message,
) []trace.SpanStartOption {
	linked := carried
	switch {
	case keepsContext(msg.Metadata):
	case carried.IsValid():
		return e.consumeStart
	default:
		linked = trace.SpanContextFromContext(ambient)
	}
	opts := plus(e.consumeStart, trace.WithNewRoot())
	if linked.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: linked}))
	}
	return opts
}

// consumedFrom says where a delivery came from: what the delivery itself
// tells, else the configuration, else the Watermill router.
func (t *Tracer) consumedFrom(ctx context.Context, d *middleware.Delivery) endpointKey {
	k := endpointKey{system: t.config.System, topic: t.config.Topic, group: t.config.Group}
	if d != nil {
		k.system, k.topic, k.group = or(d.System, k.system), or(d.Topic, k.topic), or(d.Group, k.group)
	}
	if k.topic == "" {
		k.topic = message.SubscribeTopicFromCtx(ctx)
	}
	return k
}

func or(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

func deliveryAttributes(system string, d *middleware.Delivery) []attribute.KeyValue {
	if d == nil {
		return nil
	}
	attrs := make([]attribute.KeyValue, 0, 4)
	if d.ID != "" {
		attrs = append(attrs, text(keyDeliveryID, d.ID))
	}
	if d.Count > 0 {
		attrs = append(attrs, keyDeliveryCount.Int(d.Count))
	}
	if system == systemKafka && d.Partition >= 0 && d.Offset >= 0 {
		attrs = append(attrs,
			keyPartition.String(strconv.Itoa(int(d.Partition))), keyKafkaOffset.Int64(d.Offset))
	}
	return attrs
}
