package eventbustest

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

func traceCases() []Case {
	return []Case{
		{
			Name: "TraceIsOneStory", run: traceIsOneStory,
			Why: "publish, consume and handle spans form one trace through the broker; each attempt has its span, and a failed one its error status",
		},
		{
			Name: "TraceTree", run: traceTree(false),
			Why: "the spans of a publish, a batch, a retry, a letter, its replay, a background publish, a publishing handler and a stock message have the names, kinds, attributes and parents of the design",
		},
		{
			Name: "TraceTreeInAnotherContext", run: traceTree(true),
			Why: "the spans are the same where the bus consumes in the context of another trace",
		},
		{
			Name: "ReplayIsLinked", Need: []Feature{Letters}, run: replayIsLinked,
			Why: "the replay of a letter begins a trace of its own that is linked to the first one",
		},
	}
}

// find waits for so many ended spans of the name.
func (s *session) find(book *spanBook, name string, count int) []span {
	s.Helper()
	var found []span
	s.until("spans "+name, func() bool { found = book.named(name); return len(found) >= count }, func() any { return book })
	if len(found) != count {
		s.Fatalf("%d spans %q, want %d:\n%v", len(found), name, count, book)
	}
	return found
}

func traceIsOneStory(s *session) {
	book := &spanBook{}
	n := s.start(func(o *Options) { o.TracerProvider = book })
	var got *Recorder
	inner := make(chan trace.SpanContext, 2)
	got = n.recordWith("reader", func(ctx context.Context, _ eventbus.Event) error {
		inner <- trace.SpanContextFromContext(ctx)
		if got.Len() == 1 {
			return errors.New("the first attempt fails")
		}
		return nil
	})
	ctx, root := book.Tracer("").Start(s.ctx(), "request")
	if err := n.Bus.Publish(ctx, place("k", 1)); err != nil {
		s.Fatalf("publish: %v", err)
	}
	root.End()
	n.consumed(1)
	publish := s.find(book, ".publish "+placedName, 1)[0]
	consume := s.find(book, ".consume "+placedName, 1)[0]
	handles := s.find(book, "handle reader", 2)

	story := root.SpanContext().TraceID()
	for _, is := range []struct {
		what         string
		child, under span
		kind         trace.SpanKind
	}{
		{"publish", publish, span{own: root.SpanContext()}, trace.SpanKindProducer},
		{"consume", consume, publish, trace.SpanKindConsumer},
		{"the first handle", handles[0], consume, trace.SpanKindInternal},
		{"the second handle", handles[1], consume, trace.SpanKindInternal},
	} {
		if is.child.own.TraceID() != story || is.child.parent.SpanID() != is.under.own.SpanID() || is.child.kind != is.kind {
			s.Errorf("%s: %s span in trace %s under %s, want %s in %s under %s:\n%v", is.what, is.child.kind, is.child.own.TraceID(),
				is.child.parent.SpanID(), is.kind, story, is.under.own.SpanID(), book)
		}
	}
	if handles[0].status != codes.Error || handles[1].status == codes.Error || consume.status == codes.Error {
		s.Errorf("status of the attempts %v and %v, of consume %v; want an error on the first attempt only", handles[0].status, handles[1].status, consume.status)
	}
	for i := range handles {
		if in := wait(s, inner, "the handler ran"); in.SpanID() != handles[i].own.SpanID() {
			s.Errorf("attempt %d ran in span %s, want its own, %s", i+1, in.SpanID(), handles[i].own.SpanID())
		}
	}
}

func replayIsLinked(s *session) {
	book := &spanBook{}
	n := s.start(func(o *Options) { o.TracerProvider = book })
	var got *Recorder
	got = n.recordWith("reader", func(context.Context, eventbus.Event) error {
		if got.Len() <= 3 {
			return errPlanned
		}
		return nil
	})
	n.publish(place("k", 1))
	n.consumed(1)
	publish := s.find(book, ".publish "+placedName, 1)[0]
	letters := n.letters(dlq.Query{})
	if len(letters) != 1 {
		s.Fatalf("%d letters, want 1", len(letters))
	}
	if err := n.Bus.DeadLetters().Replay(s.ctx(), letters[0].ID); err != nil {
		s.Fatalf("replay: %v", err)
	}
	n.consumed(2)
	consume := s.find(book, ".consume "+placedName, 2)[1]
	if consume.own.TraceID() == publish.own.TraceID() {
		s.Errorf("the replay continues the trace of the first delivery, want one of its own:\n%v", book)
	}
	for _, l := range consume.links {
		if l.SpanContext.TraceID() == publish.own.TraceID() {
			return
		}
	}
	s.Errorf("the replay is not linked to the first trace:\n%v", book)
}
