package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// commands counts how often the server ran a command, and round trips: reads
// from connections that had something to read.
func stat(t *testing.T, client *redis.Client, section, key string) int64 {
	t.Helper()
	info, err := client.Info(t.Context(), section).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+":"); ok {
			v, _, _ = strings.Cut(strings.TrimPrefix(v, "calls="), ",")
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func TestPublisher_OneCallIsOneRoundTripInOrder(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	client := connect(t, server.URL())
	watch := connect(t, server.URL())
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, "warm", msg("warm", ""))
	batch := make([]*message.Message, 200)
	for i := range batch {
		batch[i] = msg(fmt.Sprint(i), "")
	}
	before := stat(t, watch, "stats", "total_reads_processed")
	publish(t, pub, "s", batch...)
	reads := stat(t, watch, "stats", "total_reads_processed") - before - 1 // one for the question itself

	// 200 messages are about 30 KB: the server takes them in reads of 16 KB.
	if reads > 4 {
		t.Errorf("the server read %d times for one call of 200 messages, want one pipeline", reads)
	}
	entries := client.XRange(t.Context(), "s", "-", "+").Val()
	for i, e := range entries {
		if e.Values["_watermill_message_uuid"] != fmt.Sprint(i) {
			t.Fatalf("entry %d is %v, want the order of the call", i, e.Values)
		}
	}
	if len(entries) != 200 {
		t.Errorf("%d entries, want 200", len(entries))
	}
}

func TestPublisher_ConcurrentCallsShareRoundTrips(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	client := connect(t, server.URL())
	watch := connect(t, server.URL())
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	const publishers, each = 64, 50
	before := stat(t, watch, "stats", "total_reads_processed")
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if err := pub.Publish("s", msg(fmt.Sprintf("%d-%d", p, i), "")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	reads := stat(t, watch, "stats", "total_reads_processed") - before

	if n := client.XLen(t.Context(), "s").Val(); n != publishers*each {
		t.Errorf("%d entries, want %d", n, publishers*each)
	}
	if reads > publishers*each/4 {
		t.Errorf("%d round trips for %d calls, want them shared", reads, publishers*each)
	}
}

func TestPublisher_RefusalByTheServerIsTypedAndTellsEachMessage(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	client := connect(t, server.URL())
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}

	err := pub.Publish("s", msg("a", ""), msg("b", ""))

	var refused *redisbus.RefusedError
	if !errors.As(err, &refused) || refused.Code != "OOM" || errors.Is(err, redisbus.ErrUnknown) {
		t.Errorf("err = %v, want a RefusedError with code OOM", err)
	}
	var batch *redisbus.BatchError
	if !errors.As(err, &batch) || len(batch.Errors) != 2 || len(batch.Unwrap()) != 2 {
		t.Errorf("err = %#v, want a BatchError for two messages", err)
	}
	if err := client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	publish(t, pub, "s", msg("c", ""))
	if n := client.XLen(t.Context(), "s").Val(); n != 1 {
		t.Errorf("%d entries, want only c", n)
	}
	client.Set(t.Context(), "text", "x", 0)
	if err := pub.Publish("text", msg("d", "")); !errors.As(err, &refused) || refused.Code != "WRONGTYPE" {
		t.Errorf("err = %v, want code WRONGTYPE", err)
	}
}

func TestPublisher_AnswerThatNeverComesIsUnknownAtTheDeadline(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{})
	client := patient(t, server.URL()) // only the deadlines end it
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, "s", msg("before", ""))
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	sent := pub.PublishBatch(ctx, "s", []*message.Message{msg("sent", "")})
	waiting := make(chan []error, 1)
	brief, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	go func() { waiting <- pub.PublishBatch(brief, "s", []*message.Message{msg("waiting", "")}) }()
	queued := <-waiting
	took := time.Since(began)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}

	if len(sent) != 1 || !errors.Is(sent[0], redisbus.ErrUnknown) || !errors.Is(sent[0], context.DeadlineExceeded) {
		t.Errorf("sent: %v, want ErrUnknown and DeadlineExceeded", sent)
	}
	if len(queued) != 1 || errors.Is(queued[0], redisbus.ErrUnknown) || !errors.Is(queued[0], context.DeadlineExceeded) {
		t.Errorf("queued behind it: %v, want DeadlineExceeded and that it was not sent", queued)
	}
	if took > 20*time.Second {
		t.Errorf("both took %v, want their deadlines", took)
	}
	eventually(t, "publishing works again", func() bool { return pub.Publish("s", msg("after", "")) == nil })
	ids := map[any]int{}
	for _, e := range client.XRange(t.Context(), "s", "-", "+").Val() {
		ids[e.Values["_watermill_message_uuid"]]++
	}
	if ids["waiting"] != 0 || ids["sent"] > 1 || ids["before"] != 1 {
		t.Errorf("entries %v, want the one that was not sent to be absent", ids)
	}
}

// A client that retries would publish twice what it got no answer for.
func TestPublisher_NothingIsSentTwiceWhateverTheClientRetries(t *testing.T) {
	p, server := through(t)
	retrying := redis.NewClient(&redis.Options{Addr: p.Addr(), MaxRetries: 5})
	t.Cleanup(func() { _ = retrying.Close() })
	client := connect(t, server.URL())
	pub := newPublisher(t, redisbus.PublisherConfig{Client: retrying})
	publish(t, pub, "s", msg("before", ""))
	p.CutAfter(proxy.ToClient, 0) // the request arrives, the answer does not
	err := pub.Publish("s", msg("once", ""))

	if !errors.Is(err, redisbus.ErrUnknown) {
		t.Errorf("err = %v, want ErrUnknown", err)
	}
	eventually(t, "it arrived", func() bool { return client.XLen(t.Context(), "s").Val() == 2 })
	publish(t, pub, "s", msg("after", ""))
	if n := client.XLen(t.Context(), "s").Val(); n != 3 {
		t.Errorf("%d entries, want 3: it was sent more than once", n)
	}
}

func TestPublisher_ServerAwayIsNotSent(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{})
	client := connect(t, server.URL())
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, "s", msg("before", ""))
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	// The first may still use the dead connection; then there is none.
	_ = pub.Publish("s", msg("a", ""))
	if err := pub.Publish("s", msg("b", "")); err == nil || errors.Is(err, redisbus.ErrUnknown) {
		t.Errorf("err = %v, want that it was not sent", err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "publishing works again", func() bool { return pub.Publish("s", msg("c", "")) == nil })
	if first := client.XRange(t.Context(), "s", "-", "+").Val()[0]; first.Values["_watermill_message_uuid"] != "before" {
		t.Errorf("after the restart the stream begins with %v, want what was confirmed before", first.Values)
	}
}

func TestPublisher_TrimmingIsOffByDefaultAndBoundsTheStream(t *testing.T) {
	client := shared(t)
	batch := make([]*message.Message, 1000)
	for i := range batch {
		batch[i] = msg(fmt.Sprint(i), "")
	}
	for _, c := range []struct {
		what string
		cfg  redisbus.PublisherConfig
		min  int64
		max  int64
	}{
		{"off", redisbus.PublisherConfig{}, 1000, 1000},
		{"by length", redisbus.PublisherConfig{MaxLen: 100}, 100, 300},
		{"by age", redisbus.PublisherConfig{MaxAge: time.Hour}, 1000, 1000},
	} {
		stream := name("trim")
		c.cfg.Client = client
		pub := newPublisher(t, c.cfg)
		publish(t, pub, stream, batch...)
		if n := client.XLen(t.Context(), stream).Val(); n < c.min || n > c.max {
			t.Errorf("%s: length %d, want %d to %d", c.what, n, c.min, c.max)
		}
	}
	stream := name("trim")
	for i := range 500 { // an age in the past
		client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: fmt.Sprintf("1-%d", i+1), Values: []string{"a", "b"}})
	}
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client, MaxAge: time.Minute}), stream, msg("new", ""))
	if n := client.XLen(t.Context(), stream).Val(); n > 101 {
		t.Errorf("by age: length %d, want the 500 old ones to be gone but for the last node", n)
	}
}

func TestPublisher_ClosedAndInvalid(t *testing.T) {
	client := shared(t)
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	if err := pub.Publish("s"); err != nil {
		t.Errorf("publishing nothing: %v", err)
	}
	if err := pub.Publish("", msg("a", "")); err == nil {
		t.Error("an empty topic was taken")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	stream := name("closed")
	if errs := pub.PublishBatch(ended, stream, []*message.Message{msg("a", "")}); len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Errorf("with an ended context: %v", errs)
	}
	if err := errors.Join(pub.Close(), pub.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := pub.Publish(stream, msg("a", "")); !errors.Is(err, redisbus.ErrClosed) {
		t.Errorf("after close: %v, want ErrClosed", err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client that was given: %v, want it open", err)
	}
	if n := client.Exists(t.Context(), stream).Val(); n != 0 {
		t.Error("something was published")
	}
}

// A message whose publisher has gone, while the client still made its
// connection, must not come behind what that publisher sends next.
func TestPublisher_WhatNobodyWaitsForIsNotSentLater(t *testing.T) {
	server := shared(t)
	stream := name("late")
	reachable := make(chan struct{})
	opts := *server.Options()
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		<-reachable
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	client := redis.NewClient(&opts)
	t.Cleanup(func() { _ = client.Close() })
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if errs := pub.PublishBatch(ctx, stream, []*message.Message{msg("1", "")}); len(errs) != 1 || !errors.Is(errs[0], redisbus.ErrUnknown) {
		t.Fatalf("errs = %v, want ErrUnknown", errs)
	}
	close(reachable)
	publish(t, pub, stream, msg("2", ""))
	if n := server.XLen(t.Context(), stream).Val(); n != 1 {
		t.Errorf("%d entries, want the second message's only", n)
	}
}
