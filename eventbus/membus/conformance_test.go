package membus_test

import (
	"testing"

	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/eventbus/membus"
)

// The in-memory bus keeps every promise that does not need a broker.
func TestConformance(t *testing.T) {
	const noBroker = "there is no broker: two buses do not meet, and what was published before is over"
	eventbustest.Run(t, eventbustest.Harness{
		Name: "membus",
		Open: func(_ testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
			bus, err := membus.New(membus.Config{
				Registry: o.Registry, Name: o.Topic, Group: o.Group, Codec: o.Codec,
				Retry: o.Retry, HandlerTimeout: o.HandlerTimeout, Middleware: o.Middleware, HandlerMiddleware: o.HandlerMiddleware,
				DisableDLQ: o.DisableDLQ, MaxReplays: o.MaxReplays, MaxBackground: o.MaxBackground, DrainTimeout: o.DrainTimeout,
				TracerProvider: o.TracerProvider, Logger: o.Logger,
			})
			return eventbustest.Instance{Bus: bus}, err
		},
		Lacks: eventbustest.Lacks{
			eventbustest.Broker:             noBroker,
			eventbustest.Concurrency:        "publishers bring their own goroutines: as many events are handled as Publish calls are under way",
			eventbustest.CompetingConsumers: noBroker,
			eventbustest.IndependentGroups:  noBroker,
			eventbustest.History:            noBroker,
			eventbustest.Resumes:            noBroker,
			eventbustest.Redelivers:         "the publisher is told that its event is unknown; nobody else has it",
			eventbustest.CrashRecovery:      "publisher and handlers die together",
			eventbustest.DeliveryLimit:      noBroker,
			eventbustest.SlowHandlers:       noBroker,
			eventbustest.Injection:          "there is no wire to put a message on",
			eventbustest.ForeignEntries:     "there is no wire to put an entry on",
			eventbustest.Owned:              "nothing that could be closed is given to it",
			eventbustest.Secrets:            "it has no address and no password",
		},
	})
}
