package tracing_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/middleware/tracing"
)

func TestLogHandler_AddsTheIdsOnceAndOnlyWhereThereAreAny(t *testing.T) {
	t.Parallel()
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(context.Background(), span)
	var out bytes.Buffer
	plain := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	log := slog.New(tracing.LogHandler(tracing.LogHandler(plain))).With("a", 1)
	log.InfoContext(ctx, "in a span")
	log.InfoContext(context.Background(), "outside")
	log.WithGroup("g").InfoContext(ctx, "in a group", "b", 2)
	const want = `level=INFO msg="in a span" a=1 trace_id=01000000000000000000000000000000 span_id=0200000000000000
level=INFO msg=outside a=1
level=INFO msg="in a group" a=1 g.b=2 g.trace_id=01000000000000000000000000000000 g.span_id=0200000000000000
`
	if got := out.String(); got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}
