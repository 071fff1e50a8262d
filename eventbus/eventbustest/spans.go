package eventbustest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"
)

// spanBook is a tracer provider that keeps every span: the little of an SDK
// that the suite needs, so that it imports none.
type spanBook struct {
	embedded.TracerProvider

	mu    sync.Mutex
	spans []*span
}

// span is one that was started. Its fields may be read when it has ended.
type span struct {
	noop.Span
	book   *spanBook
	name   string
	kind   trace.SpanKind
	own    trace.SpanContext
	parent trace.SpanContext
	links  []trace.Link

	status codes.Code
	attrs  []attribute.KeyValue
	events []string
	ended  bool
}

func (b *spanBook) Tracer(string, ...trace.TracerOption) trace.Tracer { return bookTracer{book: b} }

type bookTracer struct {
	embedded.Tracer
	book *spanBook
}

func (t bookTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	c := trace.NewSpanStartConfig(opts...)
	s := &span{book: t.book, name: name, kind: c.SpanKind(), links: c.Links(), attrs: c.Attributes()}
	if !c.NewRoot() {
		s.parent = trace.SpanContextFromContext(ctx)
	}
	id := trace.SpanContextConfig{TraceID: s.parent.TraceID(), TraceFlags: trace.FlagsSampled}
	if !id.TraceID.IsValid() {
		_, _ = rand.Read(id.TraceID[:]) // never fails
	}
	_, _ = rand.Read(id.SpanID[:])
	s.own = trace.NewSpanContext(id)
	t.book.mu.Lock()
	t.book.spans = append(t.book.spans, s)
	t.book.mu.Unlock()
	return trace.ContextWithSpan(ctx, s), s
}

func (s *span) SpanContext() trace.SpanContext       { return s.own }
func (s *span) IsRecording() bool                    { return true }
func (s *span) TracerProvider() trace.TracerProvider { return s.book }

func (s *span) locked(f func()) {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	f()
}

func (s *span) SetStatus(code codes.Code, _ string) { s.locked(func() { s.status = code }) }
func (s *span) SetName(name string)                 { s.locked(func() { s.name = name }) }
func (s *span) AddLink(l trace.Link)                { s.locked(func() { s.links = append(s.links, l) }) }
func (s *span) End(...trace.SpanEndOption)          { s.locked(func() { s.ended = true }) }

// AddEvent keeps the event's name.
func (s *span) AddEvent(name string, _ ...trace.EventOption) {
	s.locked(func() { s.events = append(s.events, name) })
}

// RecordError keeps that there was one.
func (s *span) RecordError(error, ...trace.EventOption) { s.AddEvent("exception") }

func (s *span) SetAttributes(kv ...attribute.KeyValue) {
	s.locked(func() { s.attrs = append(s.attrs, kv...) })
}

// named returns the ended spans whose name contains the text, in the order in
// which they began.
func (b *spanBook) named(text string) []span {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []span
	for _, s := range b.spans {
		if s.ended && strings.Contains(s.name, text) {
			found = append(found, *s)
		}
	}
	return found
}

// String lists what was seen, for messages.
func (b *spanBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, s := range b.spans {
		lines = append(lines, fmt.Sprintf("%s %q trace %s span %s parent %s links %d ended %v %v", s.kind, s.name, s.own.TraceID(), s.own.SpanID(), s.parent.SpanID(), len(s.links), s.ended, s.status))
	}
	return strings.Join(lines, "\n")
}
