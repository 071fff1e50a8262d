package redisbus_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/eventbus/redisbus"
)

// A thousand events leave no line. An outage leaves two, however long it lasts
// and however often it is tried, and counts as one reconnection.
func TestLog_OneLineWhenTheServerIsLostAndOneWhenItIsBack(t *testing.T) {
	t.Parallel()
	p, _ := through(t)
	reader, log := metric.NewManualReader(), &bustest.Told{}
	bus := openBus(t, redisbus.Config{
		URL: "redis://" + p.Addr(), Concurrency: 4,
		Logger: log.Logger(), MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
	})
	var handled atomic.Int64
	handle(t, bus, func(context.Context, Placed) error { handled.Add(1); return nil })
	run(t, bus)
	<-bus.Running()
	pass := func(n int) {
		t.Helper()
		batch := make([]eventbus.Event, n)
		for i := range batch {
			batch[i] = placed(fmt.Sprint(i))
		}
		want := handled.Load() + int64(n)
		if err := bus.Publish(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the events are handled, and the server knows", func() bool { return handled.Load() == want && bus.TransportStats().InFlight == 0 })
	}

	bustest.Outages{
		Patience: bustest.Patience(patience), Log: log, Reader: reader, Proxy: p, Pass: pass, Shutdown: bus.Shutdown,
		Lost:  []string{"WARN reading failed, trying again"},
		Again: []string{"INFO reading works again"},
	}.Judge(t)
}
