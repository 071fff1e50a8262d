package redisbus_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
)

// Each fault is made for real while 16 publishers and a consumer work; the
// oracle judges. The server keeps what it confirmed (AOF, fsync always).
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name  string
		fault func(t *testing.T, server *brokers.Instance, admin *redis.Client, o *oracle)
		// repeats permits events to be handled twice.
		repeats bool
		// check looks at what is left.
		check func(t *testing.T, o *oracle)
	}{
		{name: "all connections killed, again and again", repeats: true, fault: func(t *testing.T, _ *brokers.Instance, admin *redis.Client, o *oracle) {
			t.Helper()
			for range 10 {
				if err := admin.Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
					t.Fatal(err)
				}
				o.Progress(50)
			}
		}, check: reconnected},
		{name: "server restarted", repeats: true, fault: func(t *testing.T, server *brokers.Instance, _ *redis.Client, _ *oracle) {
			t.Helper()
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, check: reconnected},
		{name: "server killed and started again", repeats: true, fault: func(t *testing.T, server *brokers.Instance, _ *redis.Client, _ *oracle) {
			t.Helper()
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			<-time.After(500 * time.Millisecond) // long enough for many failed attempts
			if err := server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, check: reconnected},
		{name: "server sleeps", fault: func(t *testing.T, _ *brokers.Instance, admin *redis.Client, _ *oracle) {
			t.Helper()
			if err := admin.Do(t.Context(), "debug", "sleep", "1").Err(); err != nil {
				t.Fatal(err)
			}
		}, check: silent},
		{name: "all commands paused", fault: func(t *testing.T, _ *brokers.Instance, admin *redis.Client, _ *oracle) {
			t.Helper()
			if err := admin.Do(t.Context(), "client", "pause", "1000", "all").Err(); err != nil {
				t.Fatal(err)
			}
		}, check: silent},
		{name: "writes paused", fault: func(t *testing.T, _ *brokers.Instance, admin *redis.Client, _ *oracle) {
			t.Helper()
			if err := admin.Do(t.Context(), "client", "pause", "1000", "write").Err(); err != nil {
				t.Fatal(err)
			}
		}, check: silent},
		{name: "consumer deleted", fault: func(t *testing.T, _ *brokers.Instance, admin *redis.Client, o *oracle) {
			t.Helper()
			for range 5 {
				if err := admin.XGroupDelConsumer(t.Context(), o.Topic, "g", o.sub.ConsumerName()).Err(); err != nil {
					t.Fatal(err)
				}
				o.Progress(20)
			}
		}},
		{name: "group deleted", repeats: true, fault: func(t *testing.T, _ *brokers.Instance, admin *redis.Client, o *oracle) {
			t.Helper()
			if err := admin.XGroupDestroy(t.Context(), o.Topic, "g").Err(); err != nil {
				t.Fatal(err)
			}
		}, check: recreated},
		{name: "maxmemory reached", fault: func(t *testing.T, _ *brokers.Instance, admin *redis.Client, o *oracle) {
			t.Helper()
			if err := admin.ConfigSet(t.Context(), "maxmemory", "1mb").Err(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "publishes are refused", func() bool { return len(o.Refused()) > 50 })
			if err := o.pub.Publish(o.Topic, msg("refused", "")); !refusedWith(err, "OOM") {
				t.Errorf("publish: %v, want OOM", err)
			}
			eventually(t, "the consumer goes on to the end", func() bool { return pendingOf(t, admin, o.Topic, "g") == 0 })
			if err := admin.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
				t.Fatal(err)
			}
		}, check: silent},
		{name: "disk cannot be written", fault: func(t *testing.T, server *brokers.Instance, admin *redis.Client, o *oracle) {
			t.Helper()
			// A folder where the snapshot is to be; Redis then takes no writes.
			obstacle := filepath.Join(server.Folder(), "dump.rdb")
			if err := os.Mkdir(obstacle, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := admin.ConfigSet(t.Context(), "save", "3600 1").Err(); err != nil {
				t.Fatal(err)
			}
			admin.BgSave(t.Context())
			eventually(t, "publishes are refused", func() bool { return len(o.Refused()) > 50 })
			if err := o.pub.Publish(o.Topic, msg("refused", "")); !refusedWith(err, "MISCONF") {
				t.Errorf("publish: %v, want MISCONF", err)
			}
			if err := os.Remove(obstacle); err != nil {
				t.Fatal(err)
			}
			admin.BgSave(t.Context())
		}, check: onePerChange},
		{name: "password rotated", repeats: true, fault: func(t *testing.T, _ *brokers.Instance, admin *redis.Client, o *oracle) {
			t.Helper()
			if err := admin.Do(t.Context(), "acl", "setuser", "default", "off").Err(); err != nil {
				t.Fatal(err)
			}
			if err := admin.Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
				t.Fatal(err)
			}
			<-time.After(300 * time.Millisecond)
			if err := admin.Do(t.Context(), "acl", "setuser", "default", "on").Err(); err != nil {
				t.Fatal(err)
			}
		}, check: reconnected},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			server := brokers.StartRedis(t, brokers.RedisOptions{})
			admin := connect(t, server.URL())
			o := observe(t, connect(t, server.URL()), redisbus.SubscriberConfig{})
			o.Progress(100)
			f.fault(t, server, admin, o)
			o.Progress(200)
			if repeated := o.judge(); repeated > 0 && !f.repeats {
				t.Errorf("%d events were handled twice", repeated)
			}
			if f.check != nil {
				f.check(t, o)
			}
		})
	}
}

func refusedWith(err error, code string) bool {
	var refused *redisbus.RefusedError
	return errors.As(err, &refused) && refused.Code == code
}

func reconnected(t *testing.T, o *oracle) {
	t.Helper()
	if n := o.sub.Stats().Reconnections; n == 0 {
		t.Error("no reconnection was counted")
	}
	onePerChange(t, o)
}

func recreated(t *testing.T, o *oracle) {
	t.Helper()
	if s := o.sub.Stats(); s.Recreations != 1 {
		t.Errorf("%d recreations counted, want 1", s.Recreations)
	}
}

func silent(t *testing.T, o *oracle) {
	t.Helper()
	if said := o.log.Above(slog.LevelInfo); len(said) > 0 {
		t.Errorf("it said %q, want silence", said)
	}
}

// onePerChange checks that failures are told once each, not once an attempt.
func onePerChange(t *testing.T, o *oracle) {
	t.Helper()
	said := o.log.Above(slog.LevelInfo)
	if most := int(o.sub.Stats().Reconnections)*5 + 5; len(said) > most {
		t.Errorf("%d lines for %d reconnections: %q", len(said), o.sub.Stats().Reconnections, said)
	}
}

// The stream is deleted with all that is in it, while the reader waits in it
// and while it works; a new one is consumed.
func TestFaults_StreamDeleted(t *testing.T) {
	leaktest.Check(t)
	client := shared(t)
	stream := name("deleted")
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	log := &lines{}
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, Logger: slog.New(log)})
	out := subscribe(t, sub, stream)
	for i := range 5 {
		publish(t, pub, stream, msg("before", ""))
		next(t, out).Ack()
		if i%2 == 0 { // wait until it blocks again, or hit it at work
			none(t, out, 20*time.Millisecond)
		}
		client.Del(t.Context(), stream)
		publish(t, pub, stream, msg("after", ""))
		m := next(t, out)
		if m.UUID != "after" {
			t.Fatalf("%s came, want after", m.UUID)
		}
		m.Ack()
		eventually(t, "the ack is with the server", func() bool { return pendingOf(t, client, stream, "g") == 0 })
	}
	if s, said := sub.Stats(), log.Above(slog.LevelInfo); s.Recreations != 5 || s.Reconnections != 0 || len(said) != 5 {
		t.Errorf("%d recreations and %d reconnections counted, said %q; want 5, 0 and a line for each", s.Recreations, s.Reconnections, said)
	}
}

// The new stream may give its first entry the id of one that is still in flight.
func TestFaults_StreamMadeAnewWithTheSameID(t *testing.T) {
	client := shared(t)
	stream := name("same-id")
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, Concurrency: 2})
	out := subscribe(t, sub, stream)
	add := func(uuid string) {
		t.Helper()
		values := []string{"_watermill_message_uuid", uuid, "aggregate_id", uuid, "payload", "{}"}
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: "5-1", Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	add("before")
	held := next(t, out)
	client.Del(t.Context(), stream)
	add("after")
	m := next(t, out)
	if m.UUID != "after" {
		t.Errorf("%s came, want after", m.UUID)
	}
	held.Ack()
	m.Ack()
}

// The stream becomes something else, and a stream again.
func TestFaults_StreamReplacedByAnotherType(t *testing.T) {
	client := shared(t)
	stream := name("replaced")
	log := &lines{}
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client, Logger: slog.New(log)}), stream)
	client.Set(t.Context(), stream, "x", time.Minute)
	none(t, out, 300*time.Millisecond)
	client.Del(t.Context(), stream)
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("1", ""))
	next(t, out).Ack()
	if said := log.Above(slog.LevelWarn); len(said) > 4 {
		t.Errorf("it said %q, want a line for each change", said)
	}
}
