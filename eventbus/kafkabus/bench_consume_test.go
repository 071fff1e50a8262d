package kafkabus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

type benched struct {
	eventbus.Base

	CustomerID string  `json:"customer_id"`
	Amount     float64 `json:"amount"`
	Note       string  `json:"note"`
}

// The stock adapter handles one message a partition at a time: four lanes are
// the same.
func BenchmarkConsumeOneHandler(b *testing.B) { benchConsume(b, 0, 4, 20000, 20000) }

func BenchmarkConsume64LanesHandlerOf1ms(b *testing.B) {
	benchConsume(b, time.Millisecond, 64, 10000, 1000)
}

// benchConsume measures the bus, and the stock adapter through a router: decode and
// one handler, from the first event that is handled to the last. Joining the
// group is no work.
func benchConsume(b *testing.B, work time.Duration, lanes, ours, theirs int) {
	b.Helper()
	x := newBench(b, kafkabus.Gzip)
	compare(b,
		rival{"leat", ours, func(n int) time.Duration { return x.consumeOurs(n, lanes, work) }},
		rival{"stock", theirs, func(n int) time.Duration { return x.consumeStock(n, work) }},
	)
}

// fill publishes n events of 1,000 keys into four partitions.
func (x *bench) fill(topic string, n int) {
	x.Helper()
	pub := newPublisher(x, kafkabus.PublisherConfig{Client: x.client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	for i := 0; i < n; i += 500 {
		var msgs []*message.Message
		for j := i; j < min(i+500, n); j++ {
			e := benched{Base: eventbus.NewBase(fmt.Sprint("k", j%1000)), CustomerID: "33333333-3333-4333-8333-333333333333", Amount: 12.5, Note: "a note"}
			e.EventType, e.AggregateType = "Benched", "Order"
			payload, err := codec.JSON{}.Encode((*codec.Header)(&e.Base), &e)
			if err != nil {
				x.Fatal(err)
			}
			m := message.NewMessage(e.EventID, payload)
			m.Metadata = message.Metadata{
				"event_id": e.EventID, "event_type": e.EventType, "event_version": "1", "aggregate_id": e.AggregateID, "aggregate_type": e.AggregateType,
			}
			msgs = append(msgs, m)
		}
		publish(x, pub, topic, msgs...)
	}
}

// meter counts n events and takes the time from the first to the last.
type meter struct {
	n       int
	handled atomic.Int64
	began   atomic.Int64
	done    chan struct{}
}

func (m *meter) handle(work time.Duration) {
	m.began.CompareAndSwap(0, time.Now().UnixNano())
	if work > 0 {
		<-time.After(work)
	}
	if m.handled.Add(1) == int64(m.n) {
		close(m.done)
	}
}

func (m *meter) took() time.Duration {
	<-m.done
	return time.Since(time.Unix(0, m.began.Load()))
}

func (x *bench) consumeOurs(n, lanes int, work time.Duration) time.Duration {
	prefix := name("bench")
	x.fill(prefix+".stream", n)
	reg := eventbus.NewRegistry()
	if err := eventbus.Register[benched](reg, "Benched", eventbus.AggregateType("Order")); err != nil {
		x.Fatal(err)
	}
	bus, err := kafkabus.Open(context.Background(), kafkabus.Config{
		Client: x.client, TopicPrefix: prefix, ConsumerGroup: name("g"), Concurrency: lanes, Registry: reg,
	})
	if err != nil {
		x.Fatal(err)
	}
	m := &meter{n: n, done: make(chan struct{})}
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, benched) error { m.handle(work); return nil }); err != nil {
		x.Fatal(err)
	}
	var ran sync.WaitGroup
	ran.Go(func() { _ = bus.Run(context.Background()) })
	took := m.took()
	if _, err := bus.Shutdown(context.Background()); err != nil {
		x.Fatal(err)
	}
	ran.Wait()
	return took
}

func (x *bench) consumeStock(n int, work time.Duration) time.Duration {
	topic := name("bench")
	x.fill(topic, n)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		x.Fatal(err)
	}
	m := &meter{n: n, done: make(chan struct{})}
	r.AddConsumerHandler("h", topic, x.stockSubscriber(), func(msg *message.Message) error {
		var e benched
		err := codec.JSON{}.Decode(msg.Payload, &e)
		m.handle(work)
		return err
	})
	var ran sync.WaitGroup
	ran.Go(func() { _ = r.Run(context.Background()) })
	took := m.took()
	_ = r.Close()
	ran.Wait()
	return took
}
