package rabbitbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// told is what an operator reads: a log at level info.
type told struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (o *told) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.Write(p)
}

func (o *told) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(o, nil)) }

// lines are the levels and messages from a line on.
func (o *told) lines(t testing.TB, from int) (said []string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for text := range strings.Lines(o.out.String()) {
		var line struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in line %q", err, text)
		}
		said = append(said, line.Level+" "+line.Msg)
	}
	return said[min(from, len(said)):]
}

// A thousand events leave no line. An outage leaves two on each connection,
// however long it lasts and however often it is tried, and counts as one
// reconnection of each.
func TestLog_OneLineWhenTheBrokerIsLostAndOneWhenItIsBack(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	proxied, p := throughProxy(t, address)
	reader, log := metric.NewManualReader(), &told{}
	bus, recorder := open(t, rabbitbus.Config{
		URL: proxied, ExchangeName: name(t, address, "log"), Concurrency: 4,
		Logger: log.logger(), MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
	})
	pass := func(n int) {
		t.Helper()
		want := recorder.Len() + 3*n
		var batch []eventbus.Event
		for range n {
			batch = append(batch, events()...)
		}
		if err := bus.Publish(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the events are handled, and the broker knows", func() bool { return recorder.Len() == want && bus.TransportStats().Consumer.InFlight == 0 })
	}

	pass(334)
	began := log.lines(t, 0)
	want := []string{"INFO bus consumes", "INFO router running"}
	if slices.Sort(began); !slices.Equal(began, want) {
		t.Errorf("after a thousand events the log is %q, want %q", began, want)
	}

	want = nil
	for outage, fault := range []func() error{func() error { p.Cut(); return nil }, p.Refuse, p.Refuse} {
		if err := fault(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the loss is told", func() bool { return len(log.lines(t, len(began))) >= 4*outage+2 })
		<-time.After(700 * time.Millisecond) // long enough for many failed attempts
		if err := p.Accept(); err != nil {
			t.Fatal(err)
		}
		pass(5)
		want = append(want, "INFO consuming works again", "INFO publishing works again",
			"WARN consuming failed, trying again", "WARN publishing failed, trying again")
		eventually(t, "the return is told", func() bool { return len(log.lines(t, len(began))) >= len(want) })
		if n, _ := gauge(t, reader, "leat.reconnections"); n != 2*(int64(outage)+1) {
			t.Errorf("%d reconnections are told, want %d: two connections", n, 2*(outage+1))
		}
	}
	if _, err := bus.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	want = append(want, "INFO drain started", "INFO drain ended", "INFO bus shut down")
	got := log.lines(t, len(began))
	slices.Sort(got) // two connections
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("after three outages the log goes on %q, want %q", got, want)
	}
}

// gauge collects as an exporter does, and returns the metric's one value.
func gauge(t testing.TB, reader *metric.ManualReader, name string) (value int64, told bool) {
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
