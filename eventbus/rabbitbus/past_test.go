package rabbitbus_test

import (
	"testing"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// A producer uses an id twice. The first message is finished when the connection
// is lost, the second still waits: its redelivery is no repetition of the first.
func TestPast_AnotherMessageOfTheSameIDIsHandled(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		topic := name(t, url, "past")
		proxied, p := throughProxy(t, url)
		sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, proxied), Topology: topology, Concurrency: 1})
		out := subscribe(t, sub, topic)
		pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url), Topology: topology})

		publish(t, pub, topic, msg("twice", "k"))
		next(t, out).Ack()
		eventually(t, "the first one is acknowledged", func() bool { return sub.Stats().Acked == 1 })
		second := msg("twice", "k")
		second.Payload = []byte(`{"n":"another"}`)
		publish(t, pub, topic, msg("between", "k"), second)
		between := next(t, out)
		eventually(t, "the second one is at hand", func() bool { return sub.Stats().InFlight == 2 })
		p.Cut()
		eventually(t, "the consumer is back", func() bool { return sub.Stats().Reconnections == 1 })
		between.Ack()
		if m := next(t, out); string(m.Payload) != string(second.Payload) || !m.Ack() {
			t.Errorf("%s comes, want the second message", m.Payload)
		}
	})
}
