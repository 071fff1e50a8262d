package tracing

import (
	"errors"
	"go/token"
	"reflect"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/middleware"
)

// errorType names the kind of err with few different values: its ErrorType
// method's word where it has one, else its Go type without what only marks it.
func (t *Tracer) errorType(err error) string {
	return t.errorTypes.word(semconv.ErrorType(unmarked(err)).Value.AsString())
}

// unmarked takes off what has no name of its own to tell: fmt.Errorf's wrappers
// and the marks of package middleware, such as Permanent's.
func unmarked(err error) error {
	ours := reflect.TypeFor[middleware.ExhaustedError]().PkgPath()
	for {
		typ := reflect.TypeOf(err)
		if typ.Kind() != reflect.Pointer {
			return err
		}
		typ = typ.Elem()
		if pkg := typ.PkgPath(); pkg != ours && pkg != "fmt" || token.IsExported(typ.Name()) {
			return err
		}
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// fail marks span as failed by err. The error's text goes no further than the
// span, cut; metrics get its type only.
func fail(span trace.Span, err error, errorType string) {
	if !span.IsRecording() {
		return
	}
	except(span, err, errorType)
	span.SetAttributes(keyErrorType.String(errorType))
	span.SetStatus(codes.Error, clean(err.Error(), maxText))
}

// except adds err to span without calling it a failure.
func except(span trace.Span, err error, errorType string) {
	span.AddEvent(eventException, trace.WithAttributes(
		keyExceptionType.String(errorType), keyExceptionText.String(clean(err.Error(), maxText))))
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
