package eventbus

import (
	"context"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
)

// handedOn is the context of a background publish from a handler in memory:
// the context that began the chain of events, and the handler's span.
type handedOn struct {
	context.Context                 //nolint:containedctx // it is a context
	root            context.Context //nolint:containedctx // what the next one is made from
}

// handOn returns ctx without its end, for a publish that goes on without its
// caller.
func handOn(ctx context.Context) context.Context {
	d := deliveryFrom(ctx)
	if d == nil || !d.bus.direct {
		return context.WithoutCancel(ctx)
	}
	for outer := deliveryFrom(d.Context); outer != nil && outer.bus.direct; outer = deliveryFrom(d.Context) {
		d = outer
	}
	root := d.Context
	if h, ok := root.(*handedOn); ok {
		root = h.root
	}
	next := trace.ContextWithSpanContext(context.WithoutCancel(root), trace.SpanContextFromContext(ctx))
	return &handedOn{Context: baggage.ContextWithBaggage(next, baggage.FromContext(ctx)), root: root}
}
