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

// ownTopic returns the flags for a topic of the test's own, gone at its end.
func ownTopic(t *testing.T, url string) []string {
	t.Helper()
	topic := "orders-test-" + eventbus.NewID()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client := redis.NewClient(opts)
		if err := client.Del(context.Background(), topic, topic+".dlq").Err(); err != nil {
			t.Error(err)
		}
		_ = client.Close() // a second time is no matter
	})
	return []string{"-bus=watermill-redis", "-redis=" + url, "-topic=" + topic}
}

func TestStory_OverStockRedis(t *testing.T) {
	t.Parallel()
	url := brokers.Redis(t)
	flags := ownTopic(t, url)
	for range 2 { // the second run finds the topic and the letters' tombstones of the first
		wantStory(t, runOrders(t.Context(), nil, flags...))
	}
	// Another group gets the history first, and says so.
	r := runOrders(t.Context(), nil, append(flags, "-group=newcomer")...)
	if r.code != 0 {
		t.Errorf("got code %d, %s", r.code, r.err)
	}
	wantAll(t, "the output", r.out, "on events that were on the topic from other runs", "Check: all 10 accepted events")
}

func TestInput_OverStockRedis(t *testing.T) {
	t.Parallel()
	wantFile(t, runOrders(t.Context(), nil, append(ownTopic(t, brokers.Redis(t)), "-input=testdata/orders.jsonl")...))
}

func TestInput_RedisGoesAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	server := brokers.StartRedis(t, brokers.RedisOptions{})
	pr, pw := io.Pipe()
	var out, errs screen
	ended := make(chan int)
	go func() {
		ended <- run(t.Context(), []string{"-bus=watermill-redis", "-redis=" + server.URL(), "-input=-", "-patience=30s"}, pr, &console{out: &out, err: &errs})
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
}

func TestStart_WithoutRedis(t *testing.T) {
	t.Parallel()
	r := runOrders(t.Context(), nil, "-bus=watermill-redis", "-redis=redis://user:hush@127.0.0.1:1/0")
	if r.code != 1 || strings.Contains(r.err+r.out, "hush") {
		t.Errorf("got code %d, %s%s", r.code, r.out, r.err)
	}
	wantAll(t, "standard error", r.err, "cannot start: redis at 127.0.0.1:1 does not answer: ")
}
