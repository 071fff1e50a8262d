package tracing

import (
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// errorType names the kind of err with few different values: its ErrorType
// method's word where it has one, else its Go type without fmt's wrappers.
func (t *Tracer) errorType(err error) string {
	return t.errorTypes.word(semconv.ErrorType(err).Value.AsString())
}

// fail marks span as failed by err. The error's text goes no further than the
// span, cut; metrics get its type only.
func fail(span trace.Span, err error, errorType string) {
	if !span.IsRecording() {
		return
	}
	text := clean(err.Error(), maxText)
	span.SetAttributes(keyErrorType.String(errorType))
	span.AddEvent(eventException, trace.WithAttributes(
		keyExceptionType.String(errorType), keyExceptionText.String(text)))
	span.SetStatus(codes.Error, text)
}

// panicked marks span as ended by a panic that is on its way up. What it was
// is not known here: asking would mean to recover it, and so to lose its stack.
func panicked(span trace.Span) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(keyErrorType.String(errorPanic))
	span.SetStatus(codes.Error, "the handler panicked")
}

// text is an attribute whose value comes from a message.
func text(k attribute.Key, v string) attribute.KeyValue {
	return k.String(clean(v, maxValue))
}
