package redisbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
)

func newStore(t testing.TB, client redis.UniversalClient, form redisbus.Form) (*redisbus.Store, string) {
	t.Helper()
	stream := name("dlq")
	s, err := redisbus.NewStore(redisbus.StoreConfig{Client: client, Stream: stream, Form: form})
	if err != nil {
		t.Fatal(err)
	}
	return s, stream
}

func TestStore_KeepsThePromisesOfDLQ(t *testing.T) {
	client := shared(t)
	for _, form := range []redisbus.Form{redisbus.FormWatermill, redisbus.FormText} {
		t.Run(form.String(), func(t *testing.T) {
			dlqtest.Run(t, func(t *testing.T) dlq.Store {
				t.Helper()
				s, _ := newStore(t, client, form)
				return s
			})
		})
	}
}

func TestStore_PythonLettersAndForeignEntriesAreListed(t *testing.T) {
	client := shared(t)
	s, stream := newStore(t, client, redisbus.FormWatermill)
	raw, err := os.ReadFile(filepath.Join("testdata", "python_dlq.json"))
	if err != nil {
		t.Fatal(err)
	}
	var entries [][]string
	if err := json.Unmarshal(raw, &entries); err != nil {
		t.Fatal(err)
	}
	client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: entries[0]})
	client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: []string{"what", "ever"}})
	if _, err := s.Bury(t.Context(), dlqtest.Letter(1)); err != nil {
		t.Fatal(err)
	}
	var got []dlq.Letter
	for l, err := range s.List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	if len(got) != 3 {
		t.Fatalf("%d letters, want 3", len(got))
	}
	python := got[0]
	if python.MessageID != "11111111-1111-4111-8111-111111111111" || python.EventType() != "OrderCreated" ||
		python.Key != "22222222-2222-4222-8222-222222222222" || string(python.Payload) != entries[0][13] ||
		python.Source.ID != "1767323045678-0" || python.Attempts != 4 && python.Attempts != 3 ||
		!python.BuriedAt.Equal(time.Date(2026, 1, 2, 3, 5, 5, 123456000, time.UTC)) {
		t.Errorf("Python's letter is read as %+v", python)
	}
	if _, left := python.Metadata["retry_count"]; left {
		t.Errorf("metadata %v, want only the original's", python.Metadata)
	}
	foreign := got[1]
	if foreign.Reason != dlq.ReasonUndecodable || string(foreign.Payload) != `{"what":"ever"}` || foreign.ID == "" {
		t.Errorf("the foreign entry is read as %+v", foreign)
	}
}

// 100,000 letters are listed from both ends with the memory of a page.
func TestStore_ListingTakesFlatMemory(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	client := connect(t, server.URL())
	s, stream := newStore(t, client, redisbus.FormWatermill)
	l := dlqtest.Letter(1)
	if _, err := s.Bury(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	entry := client.XRange(t.Context(), stream, "-", "+").Val()[0]
	total := 100_000
	if raced && !long() {
		total = 20_000
	}
	for n := 1; n < total; {
		pipe := client.Pipeline()
		for ; n < total && pipe.Len() < 5000; n++ {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: entry.Values})
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Count(t.Context()); err != nil || n != int64(total) {
		t.Errorf("count %d, %v, want %d", n, err, total)
	}
	for _, newestFirst := range []bool{false, true} {
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		n, most := 0, uint64(0)
		for _, err := range s.List(t.Context(), dlq.Query{NewestFirst: newestFirst}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n%5_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
		}
		if n != total {
			t.Errorf("%d letters listed, want %d", n, total)
		}
		if grown := int64(most) - int64(before.HeapAlloc); grown > 4<<20 {
			t.Errorf("listing %d letters grew the heap by %d KiB, want a page", total, grown>>10)
		}
	}
	if n, err := s.Purge(t.Context()); err != nil || n != total {
		t.Errorf("purge %d, %v, want %d", n, err, total)
	}
}

func TestStore_ServerAwayIsUnavailableNotEmpty(t *testing.T) {
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = gone.Close() })
	s, _ := newStore(t, gone, redisbus.FormWatermill)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	errs := map[string]error{}
	_, errs["bury"] = s.Bury(ctx, dlqtest.Letter(1))
	_, errs["count"] = s.Count(ctx)
	_, errs["get"] = s.Get(ctx, "1-1")
	_, errs["delete"] = s.Delete(ctx, "1-1")
	_, errs["purge"] = s.Purge(ctx)
	errs["remove"] = s.Remove(ctx, "1-1")
	for _, err := range s.List(ctx, dlq.Query{}) {
		errs["list"] = err
	}
	for act, err := range errs {
		if !errors.Is(err, dlq.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", act, err)
		}
	}
	if len(errs) != 7 {
		t.Errorf("%d acts, want 7: an empty listing looks like none", len(errs))
	}
}

func TestInspector_StreamGroupsAndConsumers(t *testing.T) {
	client := shared(t)
	stream := name("inspect")
	in, err := redisbus.NewInspector(redisbus.InspectorConfig{Client: client, Stream: stream, DeadLetters: stream + "_dlq", Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	info := func() redisbus.StreamInfo {
		t.Helper()
		got, err := in.StreamInfo(t.Context())
		if err != nil || !got.Connected || got.Stream.Name != stream {
			t.Fatalf("info %+v, %v", got, err)
		}
		return got
	}
	if got := info(); got.Stream.Exists || got.Stream.Length != 0 {
		t.Errorf("missing stream: %+v", got)
	}
	lag, err := in.Lag(t.Context())
	consumers, err2 := in.ConsumerInfo(t.Context())
	if lag != 0 || len(consumers) != 0 || errors.Join(err, err2) != nil {
		t.Errorf("missing stream: lag %d, consumers %v, %v", lag, consumers, errors.Join(err, err2))
	}

	client.XGroupCreateMkStream(t.Context(), stream, "g", "0")
	if got := info(); !got.Stream.Exists || got.Stream.FirstEntryID != "" || len(got.ConsumerGroups) != 1 {
		t.Errorf("empty stream: %+v", got)
	}
	var ids []string
	for i := range 10 {
		ids = append(ids, client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: []string{"n", fmt.Sprint(i)}}).Val())
	}
	die(t, client, stream, "dead", 4)
	client.XGroupCreateConsumer(t.Context(), stream, "g", "idle")
	client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream + "_dlq", Values: []string{"a", "b"}})
	unread := int64(6)
	if !counts(t, client) {
		unread = redisbus.UnknownLag
	}
	got := info()
	if got.Stream.Length != 10 || got.Stream.FirstEntryID != ids[0] || got.Stream.LastEntryID != ids[9] || got.PendingMessages != 4 ||
		got.DLQMessages != 1 || got.ActiveConsumers != 2 || got.ConsumerGroups[0].Lag != unread || got.ConsumerGroups[0].LastDeliveredID != ids[3] {
		t.Errorf("info %+v", got)
	}
	if lag, err := in.Lag(t.Context()); lag != unread || err != nil {
		t.Errorf("lag %d, %v, want %d", lag, err, unread)
	}

	if removed, err := in.RemoveDeadConsumers(t.Context(), time.Hour); len(removed) != 0 || err != nil {
		t.Errorf("removed %v, %v, want none: none is idle that long", removed, err)
	}
	if removed, err := in.RemoveDeadConsumers(t.Context(), 0); len(removed) != 1 || removed[0] != "idle" || err != nil {
		t.Errorf("removed %v, %v, want the one that has nothing pending", removed, err)
	}
	consumers, err = in.ConsumerInfo(t.Context())
	if len(consumers) != 1 || consumers[0].Name != "dead" || consumers[0].Pending != 4 || err != nil {
		t.Errorf("consumers %+v, %v", consumers, err)
	}
}

func TestInspector_Disconnected(t *testing.T) {
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = gone.Close() })
	in, err := redisbus.NewInspector(redisbus.InspectorConfig{Client: gone, Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := in.StreamInfo(t.Context()); got.Connected || err == nil || got.Stream.Name != "s" {
		t.Errorf("info %+v, %v, want that it is not connected", got, err)
	}
}
