package tracing

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/internal/wire"
)

// Publishing is one call of a publisher, from [Tracer.StartPublish] to its End
// or EndEach. It belongs to one goroutine. The zero value is a publishing that
// nobody observes.
type Publishing struct{ *publishing } // a pointer, because mostly there is nothing to carry

type publishing struct {
	tracer   *Tracer
	ctx      context.Context //nolint:containedctx // it lives as long as the call whose context it is; End has no other
	endpoint *endpoint
	started  time.Time     // zero when nothing is measured
	single   [1]trace.Span // of one message, else:
	spans    []trace.Span  // nil when there are only metrics
	count    int
	ended    bool
}

// StartPublish starts one span for each message and writes the span's context
// into the message's metadata, so that each consumer's span is the child of
// its own message's. ctx is the parent of all of them; where it has no span,
// the context that the message already carries is. The caller publishes and
// then calls End or EndEach, once.
//
//	p := t.StartPublish(ctx, msgs...)
//	err := publisher.Publish(topic, msgs...)
//	p.End(err)
//
// A letter and the replay of a letter keep the context that they carry, and
// their span is linked to it. Without an SDK no span is made and nothing is
// allocated; a span context in ctx that came from elsewhere still goes on with
// the messages that have none of their own.
//
// The messages' metadata is written to, their contexts are not.
func (t *Tracer) StartPublish(ctx context.Context, msgs ...*message.Message) Publishing {
	return t.startPublish(ctx, t.config.Topic, false, msgs)
}

// startPublish is StartPublish to a topic. With own, each message's own
// context is its parent.
func (t *Tracer) startPublish(ctx context.Context, topic string, own bool, msgs []*message.Message) Publishing {
	tracer, measured := t.spans.get(), t.metrics.get()
	if tracer == nil {
		t.passAll(ctx, own, msgs)
		if !measured {
			return Publishing{}
		}
	}
	if len(msgs) == 0 {
		return Publishing{}
	}
	p := &publishing{
		tracer: t, ctx: ctx, count: len(msgs),
		endpoint: t.endpoints.get(endpointKey{system: t.config.System, topic: topic, group: t.config.Group}),
	}
	if measured {
		p.started = time.Now()
	}
	if tracer != nil {
		p.spans = p.single[:]
		if len(msgs) > 1 {
			p.spans = make([]trace.Span, len(msgs))
		}
		for i, msg := range msgs {
			p.spans[i] = t.publishSpan(ctx, tracer, own, p.endpoint, msg)
		}
	}
	return Publishing{p}
}

func (t *Tracer) passAll(ctx context.Context, own bool, msgs []*message.Message) {
	if !own {
		t.pass(ctx, msgs)
		return
	}
	for i, msg := range msgs {
		t.pass(msg.Context(), msgs[i:i+1])
	}
}

func (t *Tracer) publishSpan(ctx context.Context, tracer trace.Tracer, own bool, e *endpoint, msg *message.Message) trace.Span {
	if own {
		ctx = msg.Context()
	}
	kept := keepsContext(msg.Metadata)
	opts := e.publishStart
	if t.carries(msg.Metadata) {
		ambient := trace.SpanContextFromContext(ctx)
		found, sc := t.extract(ctx, msg.Metadata)
		switch {
		case !sc.IsValid():
		case kept, ambient.IsValid() && ambient.TraceID() != sc.TraceID():
			opts = plus(opts, trace.WithLinks(trace.Link{SpanContext: sc}))
		case !ambient.IsValid():
			ctx = found
		}
	}
	ctx, span := tracer.Start(ctx, e.publishSpanName(msg.Metadata[wire.EventType]), opts...)
	if span.IsRecording() {
		span.SetAttributes(messageAttributes(msg)...)
	}
	if !kept {
		t.inject(ctx, msg)
	}
	return span
}

// messageAttributes tell which message it is. They are set after the span was
// started: nobody samples by them, and a span that is not recorded is spared
// the price.
func messageAttributes(msg *message.Message) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 6)
	if msg.UUID != "" {
		attrs = append(attrs, text(keyMessageID, msg.UUID))
	}
	attrs = append(attrs, keyBodySize.Int(len(msg.Payload)))
	for _, m := range [...]struct {
		key  attribute.Key
		from string
	}{
		{keyEventType, wire.EventType},
		{keyAggregateID, wire.AggregateID},
		{keyConversationID, wire.CorrelationID},
		{keyReplays, wire.ReplayCount},
	} {
		if v := msg.Metadata[m.from]; v != "" {
			attrs = append(attrs, text(m.key, v))
		}
	}
	return attrs
}

// End ends the spans of all messages, as failed when err is not nil. A second
// end of the same publishing does nothing.
func (p Publishing) End(err error) {
	if p.publishing != nil {
		p.end(func(int) error { return err })
	}
}

// EndEach ends the spans with one result each: errs[i] belongs to the i-th
// message of StartPublish. Messages past the end of errs, and so all of them
// when it is nil, are confirmed.
func (p Publishing) EndEach(errs []error) {
	if p.publishing == nil {
		return
	}
	p.end(func(i int) error {
		if i < len(errs) {
			return errs[i]
		}
		return nil
	})
}

func (p *publishing) end(result func(int) error) {
	if p.ended {
		return
	}
	p.ended = true
	confirmed, failed := 0, map[string]int(nil)
	for i := range p.count {
		err := result(i)
		errorType := ""
		if err == nil {
			confirmed++
		} else {
			errorType = p.tracer.errorType(err)
			if failed == nil {
				failed = map[string]int{}
			}
			failed[errorType]++
		}
		if p.spans == nil {
			continue
		}
		if err != nil {
			fail(p.spans[i], err, errorType)
		}
		p.spans[i].End()
	}
	if !p.started.IsZero() {
		p.tracer.instruments.published(p.ctx, p.endpoint, time.Since(p.started), confirmed, failed)
	}
}
