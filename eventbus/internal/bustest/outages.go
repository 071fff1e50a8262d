package bustest

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/integration/proxy"
)

// Outages is a bus whose broker is lost three times, seen from its log: however
// long that lasts and however often it is tried, each connection has a line when
// it is lost and one when it is back, and counts as one reconnection.
type Outages struct {
	Patience Patience
	Log      *Told
	Reader   *metric.ManualReader
	Proxy    *proxy.Proxy // between the bus and the broker

	// Pass publishes a number of events and waits until they are handled, and
	// the broker knows.
	Pass     func(n int)
	Shutdown func(ctx context.Context) (eventbus.Report, error)

	// What is logged when a connection is lost and when it is back, a line for
	// each connection of the bus. Several come in any order.
	Lost, Again []string
}

// Judge runs the bus, which consumes by now, through its outages. A thousand
// events before them leave no line.
func (o Outages) Judge(t testing.TB) {
	t.Helper()
	o.Pass(1000)
	began := o.Log.Lines(t, 0)
	want := []string{"INFO bus consumes", "INFO router running"}
	if slices.Sort(began); !slices.Equal(began, want) {
		t.Errorf("after a thousand events the log is %q, want %q", began, want)
	}
	lines := func() []string { return o.Log.Lines(t, len(began)) }

	want = nil
	for outage, fault := range []func() error{func() error { o.Proxy.Cut(); return nil }, o.Proxy.Refuse, o.Proxy.Refuse} {
		if err := fault(); err != nil {
			t.Fatal(err)
		}
		want = append(want, o.Lost...)
		o.Patience.Eventually(t, "the loss is told", func() bool { return len(lines()) >= len(want) })
		<-time.After(700 * time.Millisecond) // long enough for many failed attempts
		if err := o.Proxy.Accept(); err != nil {
			t.Fatal(err)
		}
		o.Pass(15)
		want = append(want, o.Again...)
		o.Patience.Eventually(t, "the return is told", func() bool { return len(lines()) >= len(want) })
		if n, _ := Gauge(t, o.Reader, "leat.reconnections"); n != int64(len(o.Lost)*(outage+1)) {
			t.Errorf("%d reconnections are told, want %d", n, len(o.Lost)*(outage+1))
		}
	}
	if _, err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	want = append(want, "INFO drain started", "INFO drain ended", "INFO bus shut down")
	got := lines()
	if len(o.Lost) > 1 {
		slices.Sort(got)
		slices.Sort(want)
	}
	if !slices.Equal(got, want) {
		t.Errorf("after three outages the log goes on %q, want %q", got, want)
	}
}

// Gauge collects as an exporter does, and returns the metric's one value.
func Gauge(t testing.TB, reader *metric.ManualReader, name string) (value int64, told bool) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.WithoutCancel(t.Context()), &rm); err != nil {
		t.Fatal(err)
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch d := m.Data.(type) {
			case metricdata.Gauge[int64]:
				return d.DataPoints[0].Value, true
			case metricdata.Sum[int64]:
				return d.DataPoints[0].Value, true
			}
		}
	}
	return 0, false
}
