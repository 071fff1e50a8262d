package eventbustest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// since returns the spans that began after the first n, and whether all have
// ended.
func (b *spanBook) since(n int) (spans []span, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended = true
	for _, s := range b.spans[min(n, len(b.spans)):] {
		c := *s
		c.attrs = slices.Clone(s.attrs)
		spans = append(spans, c)
		ended = ended && s.ended
	}
	return spans, ended
}

func (b *spanBook) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.spans)
}

// forest writes the spans as trees, each span under its parent, those beside
// each other by name: its kind, its name without the system, what tells
// attempts and failures apart, and its events. A root that is linked says so.
func forest(spans []span, all *spanBook) string {
	var out strings.Builder
	children := map[trace.SpanID][]span{}
	known := map[trace.SpanID]bool{}
	for _, s := range spans {
		known[s.own.SpanID()] = true
	}
	for _, s := range spans {
		parent := s.parent.SpanID()
		if !known[parent] {
			parent = trace.SpanID{}
		}
		children[parent] = append(children[parent], s)
	}
	var write func(under span, depth int)
	write = func(under span, depth int) {
		below := children[under.own.SpanID()]
		slices.SortStableFunc(below, func(a, b span) int { return cmp.Compare(a.short(), b.short()) })
		for _, s := range below {
			out.WriteString(strings.Repeat("  ", depth) + s.line(all))
			if depth > 0 && s.own.TraceID() != under.own.TraceID() {
				out.WriteString(" IN ANOTHER TRACE")
			}
			if depth == 0 && s.parent.IsValid() {
				out.WriteString(" UNDER " + all.nameOf(s.parent))
			}
			out.WriteByte('\n')
			write(s, depth+1)
		}
	}
	write(span{}, 0)
	return out.String()
}

func (s span) line(all *spanBook) string {
	line := s.kind.String() + " " + s.short()
	for _, key := range []string{"leat.attempt", "leat.replays"} {
		if v := s.attr(key); v != "" {
			line += " " + strings.TrimPrefix(key, "leat.") + "=" + v
		}
	}
	if s.status == codes.Error {
		line += " failed"
	}
	for _, e := range s.events {
		line += " +" + e
	}
	for _, l := range s.links {
		line += " linked to " + all.nameOf(l.SpanContext)
	}
	return line
}

// short is the name without the system.
func (s span) short() string {
	if system := s.attr("messaging.system"); system != "" {
		return strings.TrimPrefix(s.name, system+".")
	}
	return s.name
}

// elsewhere is the name of a span that is not in the book.
const elsewhere = "somebody else's span"

// nameOf names a span by its context, wherever it was kept from.
func (b *spanBook) nameOf(c trace.SpanContext) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.spans {
		if s.own.SpanID() == c.SpanID() && s.own.TraceID() == c.TraceID() {
			return s.short()
		}
	}
	return elsewhere
}

func (s span) attr(key string) string {
	for _, kv := range s.attrs {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

// told are the attributes that each kind of span must have: the value "*" is
// any. optional are those that only some buses can tell.
var (
	toldByAll = map[trace.SpanKind]map[string]string{
		trace.SpanKindProducer: {
			"messaging.operation.name": "publish", "messaging.operation.type": "send", "messaging.message.id": "*",
			"messaging.message.body.size": "*", "leat.event.type": "*", "leat.aggregate.id": "*",
		},
		trace.SpanKindConsumer: {
			"messaging.operation.name": "consume", "messaging.operation.type": "process", "messaging.message.id": "*",
			"messaging.message.body.size": "*", "leat.event.type": "*", "leat.aggregate.id": "*",
		},
		trace.SpanKindInternal: {"leat.handler": "*", "leat.attempt": "*", "leat.event.type": "*"},
	}
	toldBySome = []string{
		"messaging.message.conversation_id", "messaging.destination.partition.id", "messaging.kafka.offset",
		"leat.delivery.id", "leat.delivery.count", "leat.replays", "error.type",
	}
)

// attributeProblems checks the attributes of one span of the bus.
func (s span) attributeProblems(system, topic, group string) (problems []string) {
	want := map[string]string{"messaging.system": system, "messaging.destination.name": topic}
	if s.kind != trace.SpanKindProducer {
		want["messaging.consumer.group.name"] = group
	}
	for k, v := range toldByAll[s.kind] {
		want[k] = v
	}
	optional := toldBySome
	if s.kind == trace.SpanKindInternal {
		optional = []string{"error.type"}
	}
	for k, v := range want {
		if got := s.attr(k); got == "" || v != "*" && got != v {
			problems = append(problems, fmt.Sprintf("span %q: attribute %s = %q, want %s", s.name, k, got, v))
		}
	}
	for _, kv := range s.attrs {
		if _, ok := want[string(kv.Key)]; !ok && !slices.Contains(optional, string(kv.Key)) {
			problems = append(problems, fmt.Sprintf("span %q: attribute %s = %q, which nobody asked for", s.name, kv.Key, kv.Value.String()))
		}
	}
	if failed := s.status == codes.Error; failed && s.kind == trace.SpanKindInternal && s.attr("error.type") == "" {
		problems = append(problems, fmt.Sprintf("span %q failed without an error.type", s.name))
	}
	return problems
}

// ours tells the bus's spans from the case's.
func (s span) ours() bool { return attrKey(s.attrs, "messaging.system") }

func attrKey(attrs []attribute.KeyValue, key attribute.Key) bool {
	return slices.ContainsFunc(attrs, func(kv attribute.KeyValue) bool { return kv.Key == key })
}
