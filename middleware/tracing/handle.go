package tracing

import (
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware"
)

// Handle is a [message.HandlerMiddleware] that makes one span for each attempt
// of one handler, named after middleware.HandlerName: the child of the span in
// the message's context, which is Consume's. It stands inside of what retries,
// next to the handler. The span tells the number of the attempt, whatever does
// the retrying: where that is not middleware.Retry, Consume must stand outside.
//
// The span is in the context of the message while h runs, so what h publishes
// with that context is its child, and so are the messages that it returns.
// Handlers that run at the same time each need a message of their own.
//
// Without an SDK it calls h and allocates nothing.
func (t *Tracer) Handle(h message.HandlerFunc) message.HandlerFunc {
	var last atomic.Pointer[handlerView] // one chain mostly has one handler and one topic
	return func(msg *message.Message) ([]*message.Message, error) {
		tracer, measured := t.spans.get(), t.metrics.get()
		if tracer == nil && !measured {
			return h(msg)
		}
		ctx := msg.Context()
		e := t.endpoints.get(t.consumedFrom(ctx, middleware.DeliveryFrom(ctx)))
		name := middleware.HandlerName(ctx)
		v := last.Load()
		if v == nil || v.endpoint != e || v.handler != name {
			v = t.newHandlerView(e, name)
			last.Store(v)
		}
		return t.handle(msg, h, v, tracer, measured)
	}
}

func (t *Tracer) handle(
	msg *message.Message, h message.HandlerFunc, v *handlerView, tracer trace.Tracer, measured bool,
) (produced []*message.Message, err error) {
	before := msg.Context()
	ctx, span := before, trace.Span(nil)
	if tracer != nil {
		ctx, span = tracer.Start(ctx, v.spanName, v.start...)
		if span.IsRecording() {
			// Retry counts its own attempts; Watermill's and the user's do not.
			span.SetAttributes(keyAttempt.Int(max(begin(ctx, v.handler), middleware.Attempt(ctx))))
			if eventType := msg.Metadata[wire.EventType]; eventType != "" {
				span.SetAttributes(text(keyEventType, eventType))
			}
		}
		msg.SetContext(ctx)
	}
	started := time.Time{}
	if measured {
		started = time.Now()
	}
	returned := false
	defer func() {
		if tracer != nil {
			leave(before, ctx, msg, produced)
		}
		errorType := t.finish(span, err, returned)
		if measured {
			t.instruments.handled(ctx, v, time.Since(started), errorType)
		}
	}()
	produced, err = h(msg)
	returned = true
	return produced, err
}

// handlerView is what is the same for all spans and metrics of a handler.
type handlerView struct {
	endpoint *endpoint
	handler  string
	spanName string
	start    []trace.SpanStartOption
	attrs    []attribute.KeyValue // of metrics
	record   []metric.RecordOption
}

func (t *Tracer) newHandlerView(e *endpoint, handler string) *handlerView {
	v := &handlerView{endpoint: e, handler: handler, spanName: "handle", start: e.handleStart, attrs: e.groupAttrs, record: e.groupRecord}
	if handler != "" {
		v.spanName = "handle " + clean(handler, maxName)
		v.start = plus[trace.SpanStartOption](v.start, trace.WithAttributes(text(keyHandler, handler)))
		v.attrs = plus(v.attrs, keyHandler.String(t.handlers.word(handler)))
		v.record = []metric.RecordOption{with(v.attrs)}
	}
	return v
}
