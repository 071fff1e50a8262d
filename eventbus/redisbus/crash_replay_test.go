package redisbus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/offspring"
)

// letterStore returns the letters of these tests, and what replays them.
func letterStore(client redis.UniversalClient) (*redisbus.Store, *dlq.Queue, error) {
	store, err := redisbus.NewStore(redisbus.StoreConfig{Client: client, Stream: "replayed_dlq"})
	if err != nil {
		return nil, nil, err
	}
	pub, err := redisbus.NewPublisher(redisbus.PublisherConfig{Client: client})
	if err != nil {
		return nil, nil, err
	}
	queue, err := dlq.New(dlq.Config{Store: store, Publisher: pub, Topic: "replayed"})
	return store, queue, err
}

// replayAll is the helper of TestCrash_InTheMiddleOfAReplay.
func replayAll() int {
	client, err := redisbus.OpenClient(context.Background(), redisbus.ClientConfig{URL: os.Getenv(envHelper)})
	if err != nil {
		return 1
	}
	_, queue, err := letterStore(client)
	if err == nil {
		_, err = queue.ReplayAll(context.Background(), dlq.Query{})
	}
	if err != nil {
		return 1
	}
	return 0
}

// Whoever replays is killed again and again: no letter is lost, and each death
// doubles at most the one that was under way.
func TestCrash_InTheMiddleOfAReplay(t *testing.T) {
	t.Parallel()
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	client := connect(t, server.URL())
	store, queue, err := letterStore(client)
	if err != nil {
		t.Fatal(err)
	}
	const total = 2000
	for n := range total {
		l := dlq.NewLetter(msg(fmt.Sprint(n), "k"))
		l.Source = dlq.Source{Topic: "replayed", Partition: dlq.NoPosition, Offset: dlq.NoPosition}
		l.Handlers, l.Group = []string{"h"}, "g"
		if _, err := store.Bury(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	deaths, left := 0, int64(total)
	for deaths < 20 && left > 0 {
		before := left
		cmd, err := offspring.Command()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(os.Environ(), envHelper+"="+server.URL(), envName+"=replayer")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it replays", func() bool {
			left, err = store.Count(t.Context())
			return err == nil && left < before
		})
		<-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if cmd.Wait() != nil {
			deaths++
		}
		if left, err = store.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left == total || deaths == 0 {
		t.Fatalf("%d letters left after %d deaths, want some replayed", left, deaths)
	}
	if _, err := queue.ReplayAll(t.Context(), dlq.Query{}); err != nil {
		t.Fatal(err)
	}
	copies := map[any]int{}
	for _, e := range client.XRange(t.Context(), "replayed", "-", "+").Val() {
		copies[e.Values["_watermill_message_uuid"]]++
	}
	doubled := 0
	for _, n := range copies {
		doubled += n - 1
	}
	if len(copies) != total || doubled > deaths {
		t.Errorf("%d of %d letters are in the stream, %d of them twice after %d deaths", len(copies), total, doubled, deaths)
	}
	t.Logf("%d deaths, %d doubled, %d left for the last", deaths, doubled, left)
}
