package tracing

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

// OnRetry tells that a failed handler is set to run again: one more in the
// retries of its handler, and an event in the span of the delivery. It has the
// form of the callback of middleware.Retry:
//
//	middleware.Retry{OnRetry: t.OnRetry}
func (t *Tracer) OnRetry(msg *message.Message, info middleware.RetryInfo) {
	ctx := msg.Context()
	handler := middleware.HandlerName(ctx)
	if t.metrics.get() && t.instruments.retries.Enabled(ctx) {
		e := t.endpoints.get(t.consumedFrom(ctx, middleware.DeliveryFrom(ctx)))
		t.instruments.retries.Add(ctx, 1, with(e.groupAttrs, keyHandler.String(t.handlers.word(handler))))
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(eventRetry, trace.WithAttributes(
			text(keyHandler, handler), keyAttempt.Int(info.Attempt), keyDelay.Float64(info.Delay.Seconds())))
	}
}

// OnBuried tells that a message is in the dead letter queue: one more in the
// dead letters of each handler that failed, and the span in ctx, which is the
// delivery's, ends as failed although the error goes no further. A letter
// without handlers says that the message itself was at fault. It has the form
// of the callback of middleware.DeadLetter:
//
//	middleware.DeadLetter{OnBuried: t.OnBuried}
func (t *Tracer) OnBuried(ctx context.Context, l dlq.Letter) {
	if t.metrics.get() && t.instruments.deadLetters.Enabled(ctx) {
		e := t.endpoints.get(t.consumedFrom(ctx, middleware.DeliveryFrom(ctx)))
		why := keyReason.String(t.reasons.word(string(l.Reason)))
		for _, h := range l.Handlers {
			t.instruments.deadLetters.Add(ctx, 1, with(e.groupAttrs, why, keyHandler.String(t.handlers.word(h))))
		}
		if len(l.Handlers) == 0 {
			t.instruments.deadLetters.Add(ctx, 1, with(e.groupAttrs, why))
		}
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		handlers := make([]string, len(l.Handlers))
		for i, h := range l.Handlers {
			handlers[i] = clean(h, maxValue)
		}
		span.AddEvent(eventBuried, trace.WithAttributes(
			text(keyReason, string(l.Reason)), text(keyLetter, l.ID), keyHandlers.StringSlice(handlers)))
		span.SetStatus(codes.Error, "buried in the dead letter queue")
	}
}
