package rabbitbus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// What waits behind a suspect is lost with each connection, too. That is no crash
// of its own.
func TestLosses_BehindASuspectAreForgiven(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	topic := name(t, address, "behind")
	proxied, p := throughProxy(t, address)
	store := openStore(t, address, topic, rabbitbus.TopologyConfig{})
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, proxied), PrefetchCount: 5, MaxDeliveries: 2, DeadLetters: store})
	if err := sub.SubscribeInitialize(topic); err != nil {
		t.Fatal(err)
	}
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, address)}), topic, msg("suspect", "a"), msg("innocent", "b"))
	ch, look := raw(t, address), raw(t, address)
	if _, ok, err := ch.Get(topic+".g", false); !ok || err != nil {
		t.Fatalf("get: %v, %v", ok, err)
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are there", func() bool { return ready(t, look, topic+".g") == 2 })
	out := subscribe(t, sub, topic)
	held := next(t, out)
	for n := range 4 {
		none(t, out, 100*time.Millisecond) // both have arrived meanwhile
		p.Cut()
		eventually(t, "it consumes again", func() bool {
			return sub.Stats().Reconnections == int64(n+1) && ready(t, look, topic+".g") == 0
		})
	}
	held.Ack()
	if m := next(t, out); m.UUID != "innocent" || !m.Ack() {
		t.Errorf("%s comes, want the innocent one", m.UUID)
	}
	if left := letters(t, store, dlq.Query{}); len(left) != 0 {
		t.Errorf("%s is buried: %s", left[0].MessageID, left[0].ErrorMessage)
	}
}

// One loss after the other within a minute: what the last one took the
// acknowledgements of is known, whatever else is.
func TestLosses_ManyDoNotMakeTheLastForgotten(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	topic := name(t, address, "many")
	proxied, p := throughProxy(t, address)
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: connect(t, proxied), PrefetchCount: 10})
	out := subscribe(t, sub, topic)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, address)})
	const losses, each = 5, 9
	for n := range losses {
		for i := range each {
			publish(t, pub, topic, msg(fmt.Sprintf("%d/%d", n, i), "k"))
		}
		for i := range each {
			m := next(t, out)
			if n == losses-1 && i == 0 {
				p.Stall(proxy.ToServer)
			}
			m.Ack()
		}
		eventually(t, "all acks are written", func() bool { s := sub.Stats(); return s.Acked-s.Repeated == int64(each*(n+1)) })
		p.Cut()
		p.Flow(proxy.ToServer)
		eventually(t, "it consumes again", func() bool { return sub.Stats().Reconnections == int64(n+1) })
	}
	publish(t, pub, topic, msg("last", "k"))
	if m := next(t, out); m.UUID != "last" || !m.Ack() {
		t.Errorf("%s comes, want the last: the others are finished", m.UUID)
	}
	if s := sub.Stats(); s.Repeated < each {
		t.Errorf("%d acknowledged again, want the %d of the last loss", s.Repeated, each)
	}
}
