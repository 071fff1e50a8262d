package tracing

import (
	"context"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/wire"
)

// maxCarried is the longest value that is read from a message's metadata. The
// W3C limit of a baggage header is 8,192 bytes; the other headers are shorter.
// What is longer is hostile or broken, and counts as absent.
const maxCarried = 8192

// carrier lets a propagator read and write a message's metadata. Being a map
// it converts to the interface without an allocation.
type carrier message.Metadata

var _ propagation.TextMapCarrier = carrier(nil)

func (c carrier) Get(key string) string {
	v := c[key]
	if len(v) > maxCarried {
		return ""
	}
	if key == wire.Baggage && v != "" {
		// The propagator would tell OpenTelemetry's error handler, which prints:
		// whoever writes to the topic could fill our log.
		if _, err := baggage.Parse(v); err != nil {
			return ""
		}
	}
	return v
}

func (c carrier) Set(key, value string) { c[key] = value }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}

// carried tells which metadata keys say that a message brings a context. With
// W3C's that is traceparent alone: a tracestate means nothing without it, and
// baggage by itself is not worth a look into the metadata of every message
// where nobody traces. A propagator of another kind is asked for its keys.
func carried(p propagation.TextMapPropagator) []string {
	fields := p.Fields()
	if slices.Contains(fields, wire.TraceParent) {
		return []string{wire.TraceParent}
	}
	return fields
}

// carries tells whether m brings a span context, valid or not.
func (t *Tracer) carries(m message.Metadata) bool {
	for _, k := range t.fields {
		if m[k] != "" {
			return true
		}
	}
	return false
}

// extract returns ctx with what m carries, and the span context in it. That one
// is invalid when m carries none; ctx's own span is then still the one in it.
func (t *Tracer) extract(ctx context.Context, m message.Metadata) (context.Context, trace.SpanContext) {
	ambient := trace.SpanFromContext(ctx)
	hidden := ctx
	if ambient.SpanContext().IsValid() {
		// A propagator that finds nothing valid returns what it was given;
		// without the ambient span in it the two cases can be told apart.
		hidden = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	found := t.propagator.Extract(hidden, carrier(m))
	sc := trace.SpanContextFromContext(found)
	if !sc.IsValid() && ambient.SpanContext().IsValid() {
		found = trace.ContextWithSpan(found, ambient)
	}
	return found, sc
}

// inject writes ctx's span context into msg in the place of the one it has.
func (t *Tracer) inject(ctx context.Context, msg *message.Message) {
	if msg.Metadata == nil {
		msg.Metadata = make(message.Metadata, 3)
	}
	// Inject leaves tracestate alone when the new context has none; the old
	// one belongs to another vendor's view of another span.
	delete(msg.Metadata, wire.TraceState)
	t.propagator.Inject(ctx, carrier(msg.Metadata))
}

// pass is what is left of publishing when no spans are made: the context that
// this process was handed goes on with the messages that have none.
func (t *Tracer) pass(ctx context.Context, msgs []*message.Message) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return
	}
	for _, msg := range msgs {
		if !t.carries(msg.Metadata) {
			t.inject(ctx, msg)
		}
	}
}

// keepsContext tells whether msg is a letter or the replay of one. Such a
// message carries the context of its first publishing, which the letter must
// keep and to which spans are linked.
func keepsContext(m message.Metadata) bool {
	return m[wire.ReplayCount] != "" || m[dlq.KeyReason] != ""
}

// leave takes the middleware's context off the consumed message and makes the
// span in it the parent of the messages that the handler returned, so that a
// publisher that is asked to publish them continues the trace. A message with a
// span context of its own keeps it. The consumed message itself, sent on, goes
// on from the innermost span that it was in.
func leave(before, inside context.Context, consumed *message.Message, produced []*message.Message) {
	innermost := trace.SpanContextFromContext(consumed.Context())
	consumed.SetContext(before)
	if len(produced) == 0 {
		return
	}
	span, bag := trace.SpanContextFromContext(inside), baggage.FromContext(inside)
	for _, msg := range produced {
		if msg == nil {
			continue
		}
		ctx, changed := msg.Context(), false
		switch {
		case msg == consumed && innermost.IsValid():
			ctx, changed = trace.ContextWithSpanContext(ctx, innermost), true
		case span.IsValid() && !trace.SpanContextFromContext(ctx).IsValid():
			ctx, changed = trace.ContextWithSpanContext(ctx, span), true
		}
		if bag.Len() > 0 && baggage.FromContext(ctx).Len() == 0 {
			ctx, changed = baggage.ContextWithBaggage(ctx, bag), true
		}
		if changed {
			msg.SetContext(ctx)
		}
	}
}
