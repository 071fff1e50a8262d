package rabbitbus_test

import (
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// A thousand events leave no line. An outage leaves two on each connection,
// however long it lasts and however often it is tried, and counts as one
// reconnection of each.
func TestLog_OneLineWhenTheBrokerIsLostAndOneWhenItIsBack(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	proxied, p := throughProxy(t, address)
	reader, log := metric.NewManualReader(), &bustest.Told{}
	bus, recorder := open(t, rabbitbus.Config{
		URL: proxied, ExchangeName: name(t, address, "log"), Concurrency: 4,
		Logger: log.Logger(), MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
	})
	pass := func(n int) {
		t.Helper()
		batches := (n + 2) / 3 // of three events each
		want := recorder.Len() + 3*batches
		var batch []eventbus.Event
		for range batches {
			batch = append(batch, events()...)
		}
		if err := bus.Publish(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the events are handled, and the broker knows", func() bool { return recorder.Len() == want && bus.TransportStats().Consumer.InFlight == 0 })
	}

	bustest.Outages{
		Patience: bustest.Patience(patience), Log: log, Reader: reader, Proxy: p, Pass: pass, Shutdown: bus.Shutdown,
		Lost:  []string{"WARN consuming failed, trying again", "WARN publishing failed, trying again"},
		Again: []string{"INFO consuming works again", "INFO publishing works again"},
	}.Judge(t)
}
