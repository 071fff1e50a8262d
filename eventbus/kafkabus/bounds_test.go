package kafkabus_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// Large records behind a key that is stuck: their bytes are the bound, long
// before their number is.
func TestSubscriber_BytesInFlightAreBounded(t *testing.T) {
	t.Parallel()
	_, client := fake(t)
	topic := name("bytes")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	const total, size, bound = 200, 20_000, 400_000
	for i := range total {
		m := msg(fmt.Sprint("m", i), "k")
		m.Payload = make([]byte, size)
		_, _ = rand.Read(m.Payload) // a fetch is bounded by its compressed size
		publish(t, pub, topic, m)
	}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, Concurrency: 2, MaxInFlightBytes: bound})
	out := subscribe(t, sub, topic)
	held := next(t, out)
	eventually(t, "the partition is paused", func() bool { return sub.Stats().Pauses > 0 })
	<-time.After(200 * time.Millisecond) // in which all would be read
	// What one fetch brings comes on top: as much again.
	if n := sub.Stats().InFlight; n*size > 3*bound {
		t.Errorf("%d records of %d bytes are in flight, the bound is %d bytes", n, size, bound)
	}
	held.Ack()
	for range total - 1 {
		next(t, out).Ack()
	}
}
