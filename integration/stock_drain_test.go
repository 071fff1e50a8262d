package integration_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/router"
)

// The trap that the drain decorator is for, on a stock router, the stock Redis
// adapter and a real Redis: thirty messages are being handled when the router
// is closed, and all are finished. Bare, their acknowledgements are dropped, and
// the broker delivers them again. Should the bare half ever fail, the adapter
// was mended, and the decorator may retire.
func TestStockRedis_CleanStop(t *testing.T) {
	t.Run("bare, finished messages stay pending", func(t *testing.T) {
		finished, pending := closeWhileHandling(t, func(s message.Subscriber) message.Subscriber { return s })
		if finished != 30 || pending == 0 {
			t.Errorf("finished %d, still pending %d: the adapter keeps its acknowledgements now", finished, pending)
		}
	})
	t.Run("decorated, none does", func(t *testing.T) {
		finished, pending := closeWhileHandling(t, func(s message.Subscriber) message.Subscriber {
			return router.Decorate(s, router.DrainConfig{DrainTimeout: time.Minute})
		})
		if finished != 30 || pending != 0 {
			t.Errorf("finished %d, still pending %d, want 30 and 0", finished, pending)
		}
	})
}

// closeWhileHandling closes a router while it handles one message on each of
// thirty topics, lets the handlers finish, and returns how many finished and how
// many of those the broker still has as pending.
func closeWhileHandling(t *testing.T, wrap func(message.Subscriber) message.Subscriber) (finished, pending int64) {
	t.Helper()
	opts, err := redis.ParseURL(brokers.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	own, pool := redis.NewClient(opts), *opts
	pool.PoolSize = 200
	lent := redis.NewClient(&pool)
	t.Cleanup(func() { _, _ = own.Close(), lent.Close() })
	pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: own}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: lent, ConsumerGroup: "g", Consumer: "c", DisableIndefiniteInitialBlock: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Minute}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	const topics = 30
	release := make(chan struct{})
	var started, done sync.WaitGroup
	started.Add(topics)
	done.Add(topics)
	prefix := "leat-test-drain-" + watermill.NewShortUUID()
	for i := range topics {
		topic := fmt.Sprint(prefix, i)
		if err := pub.Publish(topic, message.NewMessage(watermill.NewUUID(), []byte("x"))); err != nil {
			t.Fatal(err)
		}
		r.AddConsumerHandler(topic, topic, wrap(sub), func(*message.Message) error {
			started.Done()
			<-release
			done.Done()
			return nil
		})
	}
	ctx := context.WithoutCancel(t.Context())
	ran, closed := make(chan error, 1), make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	started.Wait()
	go func() { closed <- r.Close() }()
	select { // the stock router ends the messages' contexts now; a draining one waits
	case <-time.After(100 * time.Millisecond):
	case err := <-closed:
		t.Fatalf("closed with handlers running: %v", err)
	}
	close(release)
	done.Wait()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	for i := range topics {
		topic := fmt.Sprint(prefix, i)
		p, err := own.XPending(ctx, topic, "g").Result()
		if err != nil {
			t.Fatal(err)
		}
		pending += p.Count
		own.Del(ctx, topic)
	}
	return topics, pending
}
