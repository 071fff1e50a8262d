package redisbus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
)

// wrapped is a client of a type that the transport does not know.
type wrapped struct{ redis.UniversalClient }

// Every kind of client does: the whole way through the transport with each, the
// client's own retries and time-outs as they are by default.
func TestClients_OfEveryKind(t *testing.T) {
	leaktest.Check(t)
	single := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	cluster := brokers.StartRedisCluster(t, brokers.RedisClusterOptions{Redis: brokers.RedisOptions{Fsync: brokers.NoAppendOnly}})

	for what, client := range map[string]redis.UniversalClient{
		"a client":              redis.NewClient(&redis.Options{Addr: single.Addr()}),
		"RESP2":                 redis.NewClient(&redis.Options{Addr: single.Addr(), Protocol: 2}),
		"a cluster's":           redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()[:1]}),
		"a ring":                redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": single.Addr()}}),
		"one of another's type": wrapped{redis.NewClient(&redis.Options{Addr: single.Addr()})},
	} {
		t.Run(what, func(t *testing.T) {
			t.Cleanup(func() { _ = client.Close() })
			stream := "{orders}:" + name("clients")
			pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
			letters := &store{}
			cfg := redisbus.SubscriberConfig{Client: client, ConsumerName: "me", Concurrency: 4, PendingIdleTime: time.Second, DeadLetters: letters}
			sub := newSubscriber(t, cfg)
			out := subscribe(t, sub, stream)
			for i := range 20 {
				publish(t, pub, stream, msg(fmt.Sprint(i), fmt.Sprint(i)))
			}
			for range 16 {
				next(t, out).Ack()
			}
			held := next(t, out) // the heartbeat keeps it
			eventually(t, "all the others are read, or acknowledged", func() bool { return pendingOf(t, client, stream, "g") == 4 })
			none(t, newOther(t, cfg, stream), 2200*time.Millisecond)
			held.Ack()
			for range 3 {
				next(t, out).Ack()
			}
			began := time.Now()
			if report, err := sub.Drain(t.Context()); err != nil || report.HandedBack != 0 {
				t.Errorf("drain: %+v, %v", report, err)
			}
			if took := time.Since(began); took > redisbus.DefaultBlockTime/2 {
				t.Errorf("drain took %v", took)
			}
			if n := pendingOf(t, client, stream, "g"); n != 0 {
				t.Errorf("%d pending", n)
			}

			dead, err := redisbus.NewStore(redisbus.StoreConfig{Client: client, Stream: stream + "_dlq"})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := dead.Count(t.Context()); n != 0 || err != nil {
				t.Errorf("letters: %d, %v", n, err)
			}
			in, err := redisbus.NewInspector(redisbus.InspectorConfig{Client: client, Stream: stream, DeadLetters: stream + "_dlq", Group: "g"})
			if err != nil {
				t.Fatal(err)
			}
			if info, err := in.StreamInfo(t.Context()); err != nil || info.Stream.Length != 20 || info.ConsumerGroups[0].Lag != 0 {
				t.Errorf("info %+v, %v", info, err)
			}
			if removed, err := in.RemoveDeadConsumers(t.Context(), 0); err != nil || len(removed) == 0 {
				t.Errorf("removed %v, %v", removed, err)
			}
		})
	}
}

// newOther subscribes another consumer of the group.
func newOther(t *testing.T, cfg redisbus.SubscriberConfig, stream string) <-chan *message.Message {
	t.Helper()
	cfg.ConsumerName = "other"
	return subscribe(t, newSubscriber(t, cfg), stream)
}
