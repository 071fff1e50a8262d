package redisbus_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/internal/offspring"
)

func TestMain(m *testing.M) {
	if os.Getenv(envHelper) == "" {
		leaktest.Main(m)
		return
	}
	offspring.EndWithParent()
	switch {
	case os.Getenv(envName) == "publisher":
		os.Exit(publishForEver())
	case os.Getenv(envName) == "killer":
		os.Exit(dieOfAnEvent())
	case os.Getenv(envName) == "replayer":
		os.Exit(replayAll())
	default:
		os.Exit(helper())
	}
}

// patience bounds every wait of these tests; none is expected to take long.
const patience = 20 * time.Second

// What these tests have in common with those of the other backends.
var (
	next       = bustest.Patience(patience).Next
	none       = bustest.None
	eventually = bustest.Patience(patience).Eventually
	subscribe  = bustest.Subscribe
	publish    = bustest.Publish
	msg        = bustest.Message
)

// lines is a logger that keeps what it is told.
type lines = bustest.Log

// shared returns a client of the Redis that all tests share.
func shared(t testing.TB) *redis.Client {
	t.Helper()
	return connect(t, brokers.Redis(t))
}

func connect(t testing.TB, url string) *redis.Client {
	t.Helper()
	return open(t, redisbus.ClientConfig{URL: url})
}

// patient is a client that waits a minute for an answer: what ends earlier was
// ended by something else.
func patient(t testing.TB, url string) *redis.Client {
	t.Helper()
	return open(t, redisbus.ClientConfig{URL: url, SocketTimeout: time.Minute})
}

func open(t testing.TB, cfg redisbus.ClientConfig) *redis.Client {
	t.Helper()
	client, err := redisbus.OpenClient(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// counts reports whether the server counts what was ever in a stream, as Redis
// does from version 7 on.
func counts(t testing.TB, client *redis.Client) bool {
	t.Helper()
	info, err := client.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(info, "redis_version:6.")
}

// name returns a stream or group name that no other test has.
func name(kind string) string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return "leat-test:" + kind + ":" + hex.EncodeToString(b[:])
}

func newPublisher(t testing.TB, cfg redisbus.PublisherConfig) *redisbus.Publisher {
	t.Helper()
	p, err := redisbus.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func newSubscriber(t testing.TB, cfg redisbus.SubscriberConfig) *redisbus.Subscriber {
	t.Helper()
	if cfg.ConsumerGroup == "" {
		cfg.ConsumerGroup = "g"
	}
	s, err := redisbus.NewSubscriber(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = s.Drain(ctx)
	})
	return s
}

func pendingOf(t testing.TB, c redis.UniversalClient, topic, group string) int64 {
	t.Helper()
	p, err := c.XPending(t.Context(), topic, group).Result()
	if err != nil {
		t.Fatal(err)
	}
	return p.Count
}
