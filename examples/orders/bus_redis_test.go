package main

import (
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/integration/brokers"
)

// overRedis runs a test on both buses that are on Redis.
func overRedis(t *testing.T, test func(t *testing.T, bus string)) {
	t.Helper()
	for _, bus := range []string{"redis", "watermill-redis"} {
		t.Run(bus, func(t *testing.T) {
			t.Parallel()
			test(t, bus)
		})
	}
}

// ownTopic returns the flags for a topic of the test's own, gone at its end.
func ownTopic(t *testing.T, bus, url string) []string {
	t.Helper()
	topic := "orders-test-" + eventbus.NewID()
	dropRedis(t, url, topic)
	return []string{"-bus=" + bus, "-redis=" + url, "-topic=" + topic}
}

// dropRedis removes a topic at the end of the test.
func dropRedis(t *testing.T, url, topic string) {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client := redis.NewClient(opts)
		if err := client.Del(context.Background(), topic, topic+".dlq", topic+":stream", topic+":stream_dlq").Err(); err != nil {
			t.Error(err)
		}
		_ = client.Close() // a second time is no matter
	})
}

func TestStory_OverRedis(t *testing.T) {
	t.Parallel()
	overRedis(t, func(t *testing.T, bus string) {
		t.Helper()
		flags := ownTopic(t, bus, brokers.Redis(t))
		for range 2 { // the second run finds the topic and what the first has left
			wantStory(t, runOrders(t.Context(), nil, flags...))
		}
		// Another group gets the history first, and says so.
		r := runOrders(t.Context(), nil, append(flags, "-group=newcomer")...)
		if r.code != 0 {
			t.Errorf("got code %d, %s", r.code, r.err)
		}
		wantAll(t, "the output", r.out, "on events that were on the topic from other runs", "Check: all 10 accepted events")
	})
}

func TestInput_OverRedis(t *testing.T) {
	t.Parallel()
	overRedis(t, func(t *testing.T, bus string) {
		t.Helper()
		wantFile(t, runOrders(t.Context(), nil, append(ownTopic(t, bus, brokers.Redis(t)), "-input=testdata/orders.jsonl")...))
	})
}

func TestInput_RedisGoesAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	overRedis(t, func(t *testing.T, bus string) {
		t.Helper()
		redisGoesAway(t, "-bus="+bus)
	})
}

func redisGoesAway(t *testing.T, flags ...string) (output string) {
	t.Helper()
	server := brokers.StartRedis(t, brokers.RedisOptions{})
	pr, pw := io.Pipe()
	var out, errs screen
	ended := make(chan int)
	go func() {
		ended <- run(t.Context(), append(flags, "-redis="+server.URL(), "-input=-", "-patience=30s"), pr, &console{out: &out, err: &errs})
	}()
	write := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := io.WriteString(pw, `{"command":"create","order":"o-`+strconv.Itoa(i)+`","customer":"Ann"}`+"\n"); err != nil {
				t.Error(err)
			}
		}
	}
	write(0, 100)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	go func() {
		write(100, 300) // blocks while nothing can be published
		_ = pw.Close()  // a pipe: no error
	}()
	for begun := time.Now(); !strings.Contains(errs.String(), "; trying again"); {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("nobody has noticed that Redis is away")
		}
		<-time.After(10 * time.Millisecond)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 0 {
		t.Errorf("got code %d:\n%s", code, errs.String())
	}
	wantAll(t, "standard error", errs.String(), ": saved, but not published: ")
	wantAll(t, "the output", out.String(), "300 commands accepted, 0 refused, 300 events published", "Check: all 300 accepted events were handled exactly once")
	return out.String()
}

func TestStart_WithoutRedis(t *testing.T) {
	t.Parallel()
	for bus, want := range map[string]string{
		"redis":           "cannot start: redisbus: ",
		"watermill-redis": "cannot start: redis at 127.0.0.1:1 does not answer: ",
	} {
		r := runOrders(t.Context(), nil, "-bus="+bus, "-redis=redis://user:hush@127.0.0.1:1/0")
		if r.code != 1 || strings.Contains(r.err+r.out, "hush") {
			t.Errorf("got code %d, %s%s", r.code, r.out, r.err)
		}
		wantAll(t, "standard error", r.err, want)
	}
}
