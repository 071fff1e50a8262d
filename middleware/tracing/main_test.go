package tracing_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/middleware/tracing"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// rig is an SDK of its own: what was recorded can be asked at any moment.
type rig struct {
	spans    *tracetest.InMemoryExporter
	provider *sdktrace.TracerProvider
	reader   *metric.ManualReader
	meters   *metric.MeterProvider

	failing bool // collecting metrics must fail
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	r.provider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.spans))
	r.meters = metric.NewMeterProvider(metric.WithReader(r.reader))
	t.Cleanup(func() {
		if err := r.provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := r.meters.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) tracer(c tracing.Config) *tracing.Tracer {
	c.TracerProvider, c.MeterProvider = r.provider, r.meters
	return tracing.New(c)
}

// begin starts a span of the test's own.
func (r *rig) begin(ctx context.Context, name string) (context.Context, trace.Span) {
	return r.provider.Tracer("test").Start(ctx, name)
}

// all returns the ended spans of a name, in the order in which they started.
func (r *rig) all(name string) []tracetest.SpanStub {
	var found []tracetest.SpanStub
	for _, s := range r.spans.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	return found
}

// one returns the only ended span of a name.
func (r *rig) one(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	found := r.all(name)
	if len(found) != 1 {
		var names []string
		for _, s := range r.spans.GetSpans() {
			names = append(names, s.Name)
		}
		t.Fatalf("%d spans are named %q, want 1; there are %q", len(found), name, names)
	}
	return found[0]
}

func childOf(t *testing.T, child tracetest.SpanStub, parent trace.SpanContext) {
	t.Helper()
	if child.Parent.SpanID() != parent.SpanID() || child.SpanContext.TraceID() != parent.TraceID() {
		t.Errorf("span %q has parent %s in trace %s, want %s in %s", child.Name,
			child.Parent.SpanID(), child.SpanContext.TraceID(), parent.SpanID(), parent.TraceID())
	}
}

func rootLinkedTo(t *testing.T, s tracetest.SpanStub, links ...trace.SpanContext) {
	t.Helper()
	if s.Parent.IsValid() {
		t.Errorf("span %q has parent %s, want a root", s.Name, s.Parent.SpanID())
	}
	if len(s.Links) != len(links) {
		t.Fatalf("span %q has %d links, want %d", s.Name, len(s.Links), len(links))
	}
	for i, want := range links {
		got := s.Links[i].SpanContext
		if got.SpanID() != want.SpanID() || got.TraceID() != want.TraceID() {
			t.Errorf("link %d of span %q is to %s, want %s", i, s.Name, got.SpanID(), want.SpanID())
		}
		if s.SpanContext.TraceID() == want.TraceID() {
			t.Errorf("span %q is in the trace that it should only be linked to", s.Name)
		}
	}
}

// attrs returns attributes as text, by key.
func attrs(kvs []attribute.KeyValue) map[string]string {
	m := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

func sameAttrs(t *testing.T, what string, got []attribute.KeyValue, want map[string]string) {
	t.Helper()
	have := attrs(got)
	for k, v := range want {
		if have[k] != v {
			t.Errorf("%s: attribute %s = %q, want %q", what, k, have[k], v)
		}
	}
	for k, v := range have {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: attribute %s = %q, want none", what, k, v)
		}
	}
}

// metric returns the data of one metric of this package.
func (r *rig) metric(t *testing.T, name string) metricdata.Aggregation {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.reader.Collect(context.Background(), &rm); (err != nil) != r.failing {
		t.Fatal(err)
	}
	for _, scope := range rm.ScopeMetrics {
		if scope.Scope.Name != tracing.ScopeName {
			continue
		}
		if got, want := scope.Scope.SchemaURL, "https://opentelemetry.io/schemas/1.43.0"; got != want {
			t.Errorf("schema URL of the metrics = %q, want %q", got, want)
		}
		for _, m := range scope.Metrics {
			if m.Name == name {
				return m.Data
			}
		}
	}
	return nil
}

// count returns the points of a counter or gauge, by attributes written as
// "key=value,key=value" in the order of the keys.
func (r *rig) count(t *testing.T, name string) map[string]int64 {
	t.Helper()
	points := map[string]int64{}
	add := func(ps []metricdata.DataPoint[int64]) {
		for _, p := range ps {
			points[p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
		}
	}
	switch d := r.metric(t, name).(type) {
	case metricdata.Sum[int64]:
		add(d.DataPoints)
	case metricdata.Gauge[int64]:
		add(d.DataPoints)
	case nil:
	default:
		t.Fatalf("metric %s is a %T", name, d)
	}
	return points
}

// times returns the number of measurements of a histogram, by attributes.
func (r *rig) times(t *testing.T, name string) map[string]uint64 {
	t.Helper()
	points := map[string]uint64{}
	switch d := r.metric(t, name).(type) {
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			points[p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Count
		}
	case nil:
	default:
		t.Fatalf("metric %s is a %T", name, d)
	}
	return points
}

// await asks until ok, or fails after five seconds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited five seconds for %s", what)
		}
	}
}

// points returns how many series a metric has.
func (r *rig) points(t *testing.T, name string) int {
	t.Helper()
	if h, ok := r.metric(t, name).(metricdata.Histogram[float64]); ok {
		return len(h.DataPoints)
	}
	return len(r.count(t, name))
}
