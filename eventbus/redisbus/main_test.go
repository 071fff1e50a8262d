package redisbus_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

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

func subscribe(t testing.TB, s *redisbus.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	out, err := s.Subscribe(context.WithoutCancel(t.Context()), topic)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func publish(t testing.TB, p message.Publisher, topic string, msgs ...*message.Message) {
	t.Helper()
	if err := p.Publish(topic, msgs...); err != nil {
		t.Fatal(err)
	}
}

func msg(uuid, key string) *message.Message {
	m := message.NewMessage(uuid, []byte(`{"n":"`+uuid+`"}`))
	m.Metadata["event_type"] = "Tested"
	if key != "" {
		m.Metadata["aggregate_id"] = key
	}
	return m
}

// next returns the next message, unsettled.
func next(t testing.TB, out <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-out:
		if !ok {
			t.Fatal("the channel was closed, want a message")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
	}
	return nil
}

// none fails when a message comes within the time.
func none(t testing.TB, out <-chan *message.Message, within time.Duration) {
	t.Helper()
	select {
	case m, ok := <-out:
		if ok {
			t.Fatalf("message %s came, want none", m.UUID)
		}
	case <-time.After(within):
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func pendingOf(t testing.TB, c redis.UniversalClient, topic, group string) int64 {
	t.Helper()
	p, err := c.XPending(t.Context(), topic, group).Result()
	if err != nil {
		t.Fatal(err)
	}
	return p.Count
}

// lines is a logger that keeps what it is told.
type lines struct {
	mu   sync.Mutex
	seen []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.seen = append(l.seen, text)
	return nil
}

func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lines) WithGroup(string) slog.Handler      { return l }

// above returns the lines of at least that level.
func (l *lines) above(level slog.Level) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, s := range l.seen {
		for _, min := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo} {
			if min >= level && len(s) > len(min.String()) && s[:len(min.String())] == min.String() {
				out = append(out, s)
			}
		}
	}
	return out
}
