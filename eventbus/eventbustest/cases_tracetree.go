package eventbustest

import (
	"context"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/internal/wire"
)

// traceRow is one act and the spans that it must make, as forest writes them.
type traceRow struct {
	name string
	need []Feature
	do   func(ctx context.Context, n *node)
	want string

	// apart: the message carries no trace, so its own may be linked to the span
	// that the bus consumes in.
	apart bool
}

// What the handler reader does is in the event's text.
const (
	thenFailOnce = "fail once"
	thenFail     = "fail"
	thenPublish  = "publish"
)

func traceRows() []traceRow {
	say := func(text string) *placed { e := place("k", 1); e.Text = text; return e }
	publish := func(events ...eventbus.Event) func(context.Context, *node) {
		return func(ctx context.Context, n *node) {
			if err := n.Bus.Publish(ctx, events...); err != nil {
				n.s.Fatalf("publish: %v", err)
			}
		}
	}
	const one = `internal request
  producer publish OrderPlaced
    consumer consume OrderPlaced
      internal handle audit attempt=1
      internal handle reader attempt=1
`
	const clean = `consumer consume OrderPlaced
  internal handle audit attempt=1
  internal handle reader attempt=1
internal request
`
	return []traceRow{
		{name: "one event, two handlers", do: publish(say("")), want: one},
		{
			name: "a batch", do: publish(say(""), ship("k", 2), ship("k", 3)),
			want: one + `  producer publish order.shipped:v1
    consumer consume order.shipped:v1
      internal handle clerk attempt=1
  producer publish order.shipped:v1
    consumer consume order.shipped:v1
      internal handle clerk attempt=1
`,
		},
		{name: "a retry", do: publish(say(thenFailOnce)), want: `internal request
  producer publish OrderPlaced
    consumer consume OrderPlaced +leat.retry
      internal handle audit attempt=1
      internal handle reader attempt=1 failed +exception
      internal handle reader attempt=2
`},
		{name: "a letter", do: publish(say(thenFail)), want: `internal request
  producer publish OrderPlaced
    consumer consume OrderPlaced failed +leat.retry +leat.retry +leat.dead_letter
      internal handle audit attempt=1
      internal handle reader attempt=1 failed +exception
      internal handle reader attempt=2 failed +exception
      internal handle reader attempt=3 failed +exception
`},
		{
			name: "its replay", need: []Feature{Letters}, do: func(ctx context.Context, n *node) {
				letters := n.letters(dlq.Query{})
				if len(letters) != 1 {
					n.s.Fatalf("%d letters, want 1", len(letters))
				}
				if err := n.Bus.DeadLetters().Replay(ctx, letters[0].ID); err != nil {
					n.s.Fatalf("replay: %v", err)
				}
			},
			want: `consumer consume OrderPlaced replays=1 linked to publish OrderPlaced
  internal handle reader attempt=1
internal request
`,
		},
		{name: "a background publish whose caller has gone", do: func(ctx context.Context, n *node) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			if err := n.Bus.PublishInBackground(ctx, say("")); err != nil {
				n.s.Fatalf("publish in the background: %v", err)
			}
		}, want: one},
		{name: "a handler that publishes", need: []Feature{NestedPublish}, do: publish(say(thenPublish)), want: `internal request
  producer publish OrderPlaced
    consumer consume OrderPlaced
      internal handle audit attempt=1
      internal handle reader attempt=1
        producer publish order.shipped:v1
          consumer consume order.shipped:v1
            internal handle clerk attempt=1
`},
		{name: "a stock publisher's message without a trace", need: []Feature{Injection}, do: func(_ context.Context, n *node) {
			n.s.inject(raw(placedName, []byte(`{"text":""}`)))
		}, want: clean, apart: true},
		{name: "one with a broken trace", need: []Feature{Injection}, do: func(_ context.Context, n *node) {
			msg := raw(placedName, []byte(`{"text":""}`))
			msg.Metadata.Set(wire.TraceParent, "00-none-of-this-01")
			n.s.inject(msg)
		}, want: clean, apart: true},
	}
}

// traceTree runs every row on one bus, one after another. With ambient, the bus
// consumes in the context of a span of another trace, which must be nobody's parent.
func traceTree(ambient bool) func(*session) {
	return func(s *session) {
		book, runner := &spanBook{}, &spanBook{}
		n := s.open(func(o *Options) { o.TracerProvider = book })
		handleForTree(n)
		ctx := context.Background()
		if ambient {
			ctx, _ = runner.Tracer("").Start(ctx, "runner")
		}
		ran := make(chan error, 1)
		n.ran = ran
		go func() { ran <- n.Bus.Run(ctx) }() // Shutdown ends it
		n.running()
		for _, row := range traceRows() {
			if f, lacking := s.h.Lacks.first(row.need); lacking {
				s.Logf("%s: left out, the bus lacks %s", row.name, f)
				continue
			}
			n.traceRow(book, row)
		}
		n.stop()
		checkTree(s, n, book)
	}
}

func handleForTree(n *node) {
	var mu sync.Mutex
	attempts := map[string]int{}
	n.on("reader", func(ctx context.Context, e placed) error {
		mu.Lock()
		attempts[e.EventID]++
		attempt := attempts[e.EventID]
		mu.Unlock()
		switch {
		case e.Text == thenPublish:
			return n.Bus.Publish(ctx, ship(e.AggregateID, 1))
		case e.Text == thenFailOnce && attempt == 1, e.Text == thenFail && attempt <= 3:
			return errPlanned
		}
		return nil
	})
	n.on("audit", func(context.Context, placed) error { return nil })
	if _, err := eventbus.Subscribe(n.Bus, "clerk", func(context.Context, shipped) error { return nil }); err != nil {
		n.s.Fatalf("subscribe: %v", err)
	}
}

func (n *node) traceRow(book *spanBook, row traceRow) {
	n.s.Helper()
	before := book.len()
	ctx, request := book.Tracer("").Start(n.s.ctx(), "request", trace.WithSpanKind(trace.SpanKindInternal))
	row.do(ctx, n)
	request.End()
	var got string
	if !n.s.soon(func() bool {
		spans, ended := book.since(before)
		got = forest(spans, book)
		if row.apart {
			got = strings.Replace(got, " linked to "+elsewhere, "", 1)
		}
		return ended && got == row.want
	}, n.s.h.Patience) {
		n.s.Fatalf("%s: the spans are\n%s\nwant\n%s\n%v", row.name, got, row.want, book)
	}
}

// checkTree looks at all spans when nothing more can come.
func checkTree(s *session, n *node, book *spanBook) {
	spans, _ := book.since(0)
	want := 0
	for _, row := range traceRows() {
		if _, lacking := s.h.Lacks.first(row.need); !lacking {
			want += strings.Count(row.want, "\n")
		}
	}
	if len(spans) != want {
		s.Errorf("%d spans in all, want %d:\n%v", len(spans), want, book)
	}
	system := ""
	for _, sp := range spans {
		if !sp.ours() {
			continue
		}
		if system == "" {
			system = sp.attr("messaging.system")
		}
		if sp.kind != trace.SpanKindInternal && !strings.HasPrefix(sp.name, system+".") {
			s.Errorf("span %q does not begin with its system %q", sp.name, system)
		}
		for _, problem := range sp.attributeProblems(system, n.Bus.Topic(), n.Bus.Group()) {
			s.Errorf("%s", problem)
		}
	}
}
