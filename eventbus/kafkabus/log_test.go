package kafkabus_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

// A thousand events leave no line. An outage leaves two, however long it lasts
// and however often the client tries, and counts as one reconnection.
func TestLog_OneLineWhenTheBrokerIsLostAndOneWhenItIsBack(t *testing.T) {
	t.Parallel()
	client, p := throughProxy(t)
	// What the group does in consequence of a longer outage is told besides.
	reader, log := metric.NewManualReader(), &bustest.Told{LeftOut: "partitions "}
	bus := openBus(t, kafkabus.Config{
		Client: client, ConsumerGroup: name("g"), Concurrency: 4,
		Logger: log.Logger(), SessionTimeout: 6 * time.Second, HeartbeatInterval: 300 * time.Millisecond, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
	})
	var handled atomic.Int64
	if _, err := eventbus.Subscribe(bus, "count", func(context.Context, Placed) error { handled.Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
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
		eventually(t, fmt.Sprint(n, " events are handled, and that is committed"), func() bool {
			lag, err := bus.Lag(t.Context())
			return err == nil && lag == 0 && handled.Load() == want
		})
	}

	bustest.Outages{
		Patience: bustest.Patience(patience), Log: log, Reader: reader, Proxy: p, Pass: pass, Shutdown: bus.Shutdown,
		Lost:  []string{"WARN the connection to the broker failed, trying again"},
		Again: []string{"INFO the connection to the broker works again"},
	}.Judge(t)
}
