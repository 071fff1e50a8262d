package redisbus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/rivals"
)

// decodeOne is what a handler of the rivals does to be fair: decode.
func decodeOne(payload []byte) error {
	var e benchEvent
	return codec.JSON{}.Decode(payload, &e)
}

func BenchmarkConsumeOneHandler(b *testing.B) { consumeOne(b, 0) }

func BenchmarkConsumeOneHandler_800us(b *testing.B) { consumeOne(b, 800*time.Microsecond) }

func consumeOne(b *testing.B, delay time.Duration) {
	b.Helper()
	x := newBench(b, delay)
	fillFrom := newBench(b, 0)
	fillFrom.addr = x.addr
	events := map[string]int{"leat": 40000, "stock": 3000, "raw": 40000}
	if delay > 0 {
		events = map[string]int{"leat": 20000, "stock": 200, "raw": 20000}
	}
	compare(b, events,
		rival{"leat", func(n int) rivals.Cost { return x.ours(n, 1, 1, 0) }},
		rival{"stock", func(n int) rivals.Cost { return x.stock(n, 1, 0) }},
		rival{"raw", func(n int) rivals.Cost { return x.raw(n) }},
	)
}

func BenchmarkConsume64LanesHandlerOf1ms(b *testing.B) {
	x := newBench(b, 0)
	compare(b, map[string]int{"leat": 10000, "stock": 300},
		rival{"leat", func(n int) rivals.Cost { return x.ours(n, 1000, 64, time.Millisecond) }},
		rival{"stock", func(n int) rivals.Cost { return x.stock(n, 1000, time.Millisecond) }},
	)
}

// clock is for handlers: it runs from the first event to the last, so that nobody
// pays for joining.
type clock struct {
	once        sync.Once
	left        atomic.Int64
	begun, done chan struct{}
}

func newClock(n int) *clock {
	c := &clock{begun: make(chan struct{}), done: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

func (c *clock) begin() { c.once.Do(func() { close(c.begun) }) }

func (c *clock) handled() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

func (c *clock) cost() rivals.Cost {
	<-c.begun
	return rivals.Meter(func() { <-c.done })
}

// ours measures the bus: n events that lie there, through router, decode and
// one handler.
func (x *bench) ours(n, keys, lanes int, work time.Duration) rivals.Cost {
	prefix := x.stream()
	x.fillInto(prefix+":stream", n, keys)
	reg := eventbus.NewRegistry()
	x.check(eventbus.Register[benchEvent](reg, "Benched", eventbus.AggregateType("Order")))
	bus, err := redisbus.Open(context.Background(), redisbus.Config{
		Client: x.client(), StreamPrefix: prefix, ConsumerGroup: "g", Concurrency: lanes, Registry: reg,
	})
	x.check(err)
	c := newClock(n)
	_, err = eventbus.Subscribe(bus, "h", func(context.Context, benchEvent) error {
		c.begin()
		if work > 0 {
			<-time.After(work)
		}
		c.handled()
		return nil
	})
	x.check(err)
	var ran sync.WaitGroup
	ran.Go(func() { _ = bus.Run(context.Background()) })
	took := c.cost()
	_, err = bus.Shutdown(context.Background())
	x.check(err)
	ran.Wait()
	return took
}

func (x *bench) fillInto(stream string, n, keys int) {
	p := newPublisher(x.b, redisbus.PublisherConfig{Client: x.client()})
	for sent := 0; sent < n; {
		var batch []*message.Message
		for ; sent < n && len(batch) < 1000; sent++ {
			batch = append(batch, benchMessage(fmt.Sprint("key-", sent%keys)))
		}
		x.check(p.Publish(stream, batch...))
	}
}

func (x *bench) stock(n, keys int, work time.Duration) rivals.Cost {
	stream := x.stream()
	x.fillInto(stream, n, keys)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	x.check(err)
	c := newClock(n)
	r.AddConsumerHandler("h", stream, x.stockSubscriber(), func(m *message.Message) error {
		c.begin()
		if work > 0 {
			<-time.After(work)
		}
		if err := decodeOne(m.Payload); err != nil {
			return err
		}
		c.handled()
		return nil
	})
	var ran sync.WaitGroup
	ran.Go(func() { _ = r.Run(context.Background()) })
	took := c.cost()
	x.check(r.Close())
	ran.Wait()
	return took
}

// raw is the loop that one would write by hand: read 100, handle, acknowledge.
func (x *bench) raw(n int) rivals.Cost {
	stream := x.stream()
	x.fillInto(stream, n, 1)
	client, ctx := x.client(), context.Background()
	x.check(client.XGroupCreate(ctx, stream, "g", "0").Err())
	return rivals.Meter(func() {
		for handled := 0; handled < n; {
			read, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{stream, ">"}, Count: 100, Block: -1}).Result()
			x.check(err)
			ids := make([]string, 0, 100)
			for _, m := range read[0].Messages {
				x.check(decodeOne([]byte(m.Values["payload"].(string))))
				ids = append(ids, m.ID)
				handled++
			}
			x.check(client.XAck(ctx, stream, "g", ids...).Err())
		}
	})
}
