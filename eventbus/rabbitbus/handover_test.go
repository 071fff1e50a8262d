package rabbitbus_test

import (
	"slices"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// The next consumer of a queue for one at a time begins when the drain of the one
// before it is over: it would pass what is still handled, and what is handed back.
func TestDrain_ASingleActiveConsumerIsNotPassed(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	for _, kind := range kinds {
		for asked, topology := range map[string]rabbitbus.TopologyConfig{
			"by a field":     {QueueType: kind, SingleActiveConsumer: true},
			"by an argument": {QueueType: kind, QueueArguments: map[string]any{"x-single-active-consumer": true}},
		} {
			t.Run(string(kind)+" "+asked, func(t *testing.T) {
				t.Parallel()
				topic := name(t, url, "handover")
				cfg := rabbitbus.SubscriberConfig{Client: connect(t, url), Topology: topology, PrefetchCount: 3}
				one := newSubscriber(t, cfg)
				first := subscribe(t, one, topic)
				cfg.Client = connect(t, url)
				second := subscribe(t, newSubscriber(t, cfg), topic)
				publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)}), topic, batch(6, "k")...)
				held := next(t, first)
				drained := make(chan error, 1)
				go func() {
					_, err := one.Drain(t.Context())
					drained <- err
				}()
				none(t, second, 200*time.Millisecond)
				held.Ack()
				if err := <-drained; err != nil {
					t.Error(err)
				}
				var order []string
				for range 5 {
					m := next(t, second)
					order = append(order, m.UUID)
					m.Ack()
				}
				if want := []string{"1", "2", "3", "4", "5"}; !slices.Equal(order, want) {
					t.Errorf("order %v, want %v", order, want)
				}
			})
		}
	}
}
