package eventbus_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/middleware/tracing"
	"github.com/leat-go/leat/router"
)

// gauges is an SDK whose collections a test makes itself.
type gauges struct {
	reader *metric.ManualReader
	meters *metric.MeterProvider
	logs   strings.Builder
	bus    *eventbus.Bus
}

// newGauges opens a bus that is asked what o says.
func newGauges(t *testing.T, o tracing.Observed, alter ...func(*eventbus.Config)) *gauges {
	t.Helper()
	g := &gauges{reader: metric.NewManualReader()}
	g.meters = metric.NewMeterProvider(metric.WithReader(g.reader))
	channel := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	cfg := eventbus.Config{
		Publisher: channel, Subscriber: channel, Registry: eventbus.NewRegistry(), Topic: "orders", Group: "billing",
		MeterProvider: g.meters, Observed: o, Logger: slog.New(slog.NewTextHandler(&g.logs, nil)),
	}
	for _, a := range alter {
		a(&cfg)
	}
	var err error
	g.bus, err = eventbus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// collect returns the values of the metrics that have one point, and how long
// it took.
func (g *gauges) collect(t *testing.T) (values map[string]int64, took time.Duration) {
	t.Helper()
	began := time.Now()
	var rm metricdata.ResourceMetrics
	if err := g.reader.Collect(t.Context(), &rm); err != nil {
		t.Fatalf("collect: %v", err)
	}
	took = time.Since(began)
	values = map[string]int64{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Gauge[int64]:
				values[m.Name] = d.DataPoints[0].Value
			case metricdata.Sum[int64]:
				values[m.Name] = d.DataPoints[0].Value
			}
		}
	}
	return values, took
}

func (g *gauges) shutdown(t *testing.T) {
	t.Helper()
	if _, err := g.bus.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestObserve_CollectionsShareAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := int64(0)
		g := newGauges(t, tracing.Observed{Lag: func(context.Context) (int64, error) { asked++; return 10 * asked, nil }})
		defer g.shutdown(t)
		for _, is := range []struct {
			after time.Duration
			want  int64
		}{{0, 10}, {900 * time.Millisecond, 10}, {100 * time.Millisecond, 20}, {15 * time.Second, 30}} {
			<-time.After(is.after)
			if values, took := g.collect(t); values["leat.lag"] != is.want || took != 0 {
				t.Errorf("after %v more: lag = %v within %v, want %d at once", is.after, values["leat.lag"], took, is.want)
			}
		}
	})
}

// One question may be answered before the other; that nobody knows is an answer.
func TestObserve_ACollectionAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		g := newGauges(t, tracing.Observed{
			Lag:         func(context.Context) (int64, error) { <-time.After(time.Millisecond); return 1, nil },
			DeadLetters: func(context.Context) (int64, error) { asked++; return -1, nil },
		})
		defer g.shutdown(t)
		for range 2 {
			if values, _ := g.collect(t); values["leat.lag"] != 1 || asked != 1 {
				t.Errorf("%v, asked %d times, want the lag alone, and once", values, asked)
			}
		}
		<-time.After(time.Second)
		if g.collect(t); asked != 2 {
			t.Errorf("a second later: asked %d times, want twice", asked)
		}
	})
}

func TestObserve_ABrokerThatHangsHoldsUpOneCollectionOnceForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan int64)
		hang := func(ctx context.Context) (int64, error) {
			select {
			case n := <-answers:
				return n, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		g := newGauges(t, tracing.Observed{Lag: hang, DeadLetters: hang, LanesBusy: func() int64 { return 2 }})
		defer g.shutdown(t)
		for i, most := range []time.Duration{time.Second, 0, 0} {
			values, took := g.collect(t)
			if took != most {
				t.Errorf("collection %d took %v, want %v for both questions together", i, took, most)
			}
			_, lag := values["leat.lag"]
			_, letters := values["leat.dead_letters.waiting"]
			if lag || letters || values["leat.lanes.busy"] != 2 {
				t.Errorf("collection %d has %v, want what needs no broker", i, values)
			}
			<-time.After(10 * time.Second) // the question ends after 5
		}
		g.collect(t)
		answers <- 7
		answers <- 7
		synctest.Wait()
		if values, took := g.collect(t); values["leat.lag"] != 7 || values["leat.dead_letters.waiting"] != 7 || took != 0 {
			t.Errorf("once it answers: %v within %v, want 7 and 7 at once", values, took)
		}
		if n := strings.Count(g.logs.String(), "did not tell"); n != 2 {
			t.Errorf("%d lines, want one for each metric:\n%s", n, g.logs.String())
		}
	})
}

func TestObserve_ABrokerThatFailsLeavesTheMetricOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		g := newGauges(t, tracing.Observed{Lag: func(context.Context) (int64, error) {
			if err != nil && err.Error() == "panic" {
				panic("a bug")
			}
			return 5, err
		}})
		defer g.shutdown(t)
		g.collect(t)
		for _, cause := range []string{"refused", "panic"} {
			err = errors.New(cause)
			<-time.After(29 * time.Second)
			if values, took := g.collect(t); values["leat.lag"] != 5 || took != 0 {
				t.Errorf("%s: after 29 s the lag is %v within %v, want the last one", cause, values["leat.lag"], took)
			}
			<-time.After(2 * time.Second)
			if values, _ := g.collect(t); values["leat.lag"] != 0 {
				t.Errorf("%s: after 31 s the lag is %v, want none", cause, values["leat.lag"])
			}
			err = nil
			<-time.After(time.Second)
			if values, _ := g.collect(t); values["leat.lag"] != 5 {
				t.Errorf("%s: it works again and the lag is %v, want 5", cause, values["leat.lag"])
			}
		}
		if n := strings.Count(g.logs.String(), "did not tell"); n != 2 {
			t.Errorf("%d lines, want one for each failure:\n%s", n, g.logs.String())
		}
	})
}

func TestObserve_LettersOfTheTransportAreCounted(t *testing.T) {
	var tell func(dlq.Letter)
	channel := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	g := newGauges(t, tracing.Observed{}, func(c *eventbus.Config) {
		c.Subscriber = direct.Own{
			Drainer: router.Decorate(channel, router.DrainConfig{}),
			TellTo:  func(to func(dlq.Letter)) { tell = to },
		}
	})
	defer g.shutdown(t)
	tell(dlq.Letter{Reason: dlq.ReasonDeliveryLimit})
	tell(dlq.Letter{Reason: dlq.ReasonDeliveryLimit})
	if values, _ := g.collect(t); values["leat.dead_letters"] != 2 {
		t.Errorf("%v, want 2 letters", values)
	}
}

func TestObserve_ConsumersAreThoseThatRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauges(t, tracing.Observed{})
		if values, _ := g.collect(t); !maps.Equal(values, map[string]int64{"leat.lanes.busy": 0}) {
			t.Errorf("before Run: %v, want nothing of consumers: it may be there to publish", values)
		}
		done := make(chan error)
		go func() { done <- g.bus.Run(t.Context()) }()
		<-g.bus.Running()
		if values, _ := g.collect(t); values["leat.consumers"] != 1 {
			t.Errorf("while it runs: %v, want one consumer", values)
		}
		if _, err := g.bus.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		values, _ := g.collect(t)
		if n, ok := values["leat.consumers"]; n != 0 || !ok {
			t.Errorf("after Drain: %v, want no consumer", values)
		}
		g.shutdown(t)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if values, _ := g.collect(t); len(values) != 0 {
			t.Errorf("after Shutdown: %v, want nothing asked", values)
		}
	})
}
