package redisbus_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/middleware"
)

// The primary is killed, or demoted while it lives; the client finds its heir
// by the sentinels. Publishing and consuming go on by themselves, and what had
// reached the replica is handled. What only the old primary had is lost: Redis
// replicates after it has confirmed.
func TestSentinel_GoesOnAfterAFailover(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(t *testing.T, s *brokers.RedisSentinel){
		"primary killed": func(t *testing.T, s *brokers.RedisSentinel) {
			t.Helper()
			if err := s.Nodes[0].Kill(); err != nil {
				t.Fatal(err)
			}
		},
		"primary demoted": func(t *testing.T, s *brokers.RedisSentinel) {
			t.Helper()
			sentinel := redis.NewSentinelClient(&redis.Options{Addr: s.Addrs()[0]})
			defer sentinel.Close()
			if err := sentinel.Failover(t.Context(), brokers.RedisMaster).Err(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the replica is the primary", func() bool { return isPrimary(t, s, s.Nodes[1]) })
			// The sentinels tell it as well, some ten seconds later; until then the
			// reader stays with it.
			host, port, _ := net.SplitHostPort(s.Nodes[1].Addr())
			if err := connect(t, s.Nodes[0].URL()).Do(t.Context(), "replicaof", host, port).Err(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := brokers.StartRedisSentinel(t, brokers.RedisOptions{})
			client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: brokers.RedisMaster, SentinelAddrs: s.Addrs()})
			t.Cleanup(func() { _ = client.Close() })
			o := observe(t, client, redisbus.SubscriberConfig{})
			b := watchLetters(t, redisbus.Config{Client: client, StreamPrefix: "letters"})
			o.Progress(100)
			b.fail("before")

			kept := o.Confirmed()
			replicated(t, connect(t, s.Nodes[0].URL()), "barrier")
			end(t, s)
			eventually(t, "the replica is the primary", func() bool { return isPrimary(t, s, s.Nodes[1]) })
			o.forgive(kept)
			o.Progress(200)
			b.fail("after")
			b.replay("before", "after")
			o.judge()
			reconnected(t, o)
		})
	}
}

// replicated returns when one replica has all that the server has now. The key
// must be one of the server's.
func replicated(t *testing.T, primary *redis.Client, key string) {
	t.Helper()
	conn := primary.Conn()
	defer conn.Close()
	// WAIT is about the writes of its own connection, and these come after all
	// others.
	if err := conn.Set(t.Context(), key, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Wait(t.Context(), 1, patience/2).Result(); err != nil || n != 1 {
		t.Fatalf("%d replicas have it, %v", n, err)
	}
}

func isPrimary(t *testing.T, s *brokers.RedisSentinel, in *brokers.Instance) bool {
	t.Helper()
	now, err := s.Primary(t.Context())
	return err == nil && now == in
}

// letterWatch is a bus whose only handler fails until its letters are replayed.
type letterWatch struct {
	t       *testing.T
	bus     *redisbus.Bus
	handled chan string
}

func watchLetters(t *testing.T, cfg redisbus.Config) *letterWatch {
	t.Helper()
	cfg.Retry = middleware.Retry{MaxRetries: middleware.NoRetries}
	b := &letterWatch{t: t, bus: openBus(t, cfg), handled: make(chan string, 10)}
	handle(t, b.bus, func(ctx context.Context, e Placed) error {
		if d := middleware.DeliveryFrom(ctx); d == nil || d.Count < 1 {
			return errors.New("no delivery")
		}
		select {
		case b.handled <- e.Note:
			return nil
		default:
			return errors.New("not yet")
		}
	})
	run(t, b.bus)
	for range cap(b.handled) { // full: everything fails
		b.handled <- "full"
	}
	return b
}

// fail publishes an event, as often as it needs, and waits for its letter.
func (b *letterWatch) fail(note string) {
	b.t.Helper()
	eventually(b.t, "publishing works", func() bool { return b.bus.Publish(b.t.Context(), placed(note)) == nil })
	eventually(b.t, "its letter is there", func() bool {
		for l, err := range b.bus.DeadLetters().List(b.t.Context(), dlq.Query{NewestFirst: true}) {
			return err == nil && l.Key == note
		}
		return false
	})
}

// replay replays all letters and waits until their events are handled.
func (b *letterWatch) replay(notes ...string) {
	b.t.Helper()
	for range cap(b.handled) {
		<-b.handled
	}
	want := map[string]bool{}
	for _, n := range notes {
		want[n] = true
	}
	if n, err := b.bus.DeadLetters().Count(b.t.Context()); err != nil || int(n) < len(notes) {
		b.t.Errorf("%d letters, %v, want at least %d", n, err, len(notes))
	}
	if _, err := b.bus.DeadLetters().ReplayAll(b.t.Context(), dlq.Query{}); err != nil {
		b.t.Errorf("replay: %v", err)
	}
	deadline := time.After(patience)
	for len(want) > 0 {
		select {
		case n := <-b.handled:
			delete(want, n)
		case <-deadline:
			b.t.Fatalf("%v were not handled after their replay", want)
		}
	}
	eventually(b.t, "no letter is left", func() bool { n, err := b.bus.DeadLetters().Count(b.t.Context()); return n == 0 && err == nil })
}
