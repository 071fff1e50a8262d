package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

type Placed struct {
	eventbus.Base

	Note string `json:"note"`
}

func placed(id string) *Placed {
	return &Placed{Base: eventbus.NewBase(id), Note: id}
}

// openBus opens a bus on a stream of the test's own.
func openBus(t testing.TB, cfg redisbus.Config) *redisbus.Bus {
	t.Helper()
	cfg.Registry = eventbus.NewRegistry()
	if err := eventbus.Register[Placed](cfg.Registry, "Placed", eventbus.AggregateType("Order")); err != nil {
		t.Fatal(err)
	}
	if cfg.StreamPrefix == "" {
		cfg.StreamPrefix = name("bus")
	}
	bus, err := redisbus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = bus.Shutdown(ctx)
	})
	return bus
}

func run(t testing.TB, bus *redisbus.Bus) {
	t.Helper()
	var ran sync.WaitGroup
	ran.Go(func() {
		if err := bus.Run(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = bus.Shutdown(ctx)
		ran.Wait()
	})
}

func handle(t testing.TB, bus *redisbus.Bus, h func(ctx context.Context, e Placed) error) {
	t.Helper()
	if _, err := eventbus.Subscribe(bus, "h", h); err != nil {
		t.Fatal(err)
	}
}

func TestBus_RecoverPendingTellsLettersFromSuccesses(t *testing.T) {
	client := shared(t)
	prefix := name("recover")
	stream := prefix + ":stream"
	publisher := openBus(t, redisbus.Config{Client: client, StreamPrefix: prefix, ConsumerGroup: "g"})
	for i := range 6 {
		if err := publisher.Publish(t.Context(), placed(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	client.XGroupCreate(t.Context(), stream, "g", "0")
	ids := die(t, client, stream, "dead", 6)
	deliveries(t, client, stream, "dead", 1, time.Minute, ids[:5]...)
	deliveries(t, client, stream, "dead", 3, time.Minute, ids[5])

	bus := openBus(t, redisbus.Config{
		Client: client, StreamPrefix: prefix, ConsumerGroup: "g", PendingIdleTime: time.Hour,
		Retry: middleware.Retry{MaxRetries: middleware.NoRetries},
	})
	if _, err := bus.RecoverPending(t.Context(), 0, 3); !errors.Is(err, redisbus.ErrNotSubscribed) {
		t.Errorf("before Run: %v", err)
	}
	handle(t, bus, func(_ context.Context, e Placed) error {
		if e.Note == "1" || e.Note == "2" {
			return errors.New("no")
		}
		return nil
	})
	run(t, bus)
	<-bus.Running()
	got, err := bus.RecoverPending(t.Context(), 30*time.Second, 3)

	if want := (redisbus.Recovery{Checked: 6, Claimed: 6, Reprocessed: 3, DLQ: 3}); err != nil || got != want {
		t.Errorf("recovery %+v, %v, want %+v", got, err, want)
	}
	reasons := map[dlq.Reason]int{}
	for l, err := range bus.DeadLetters().List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		reasons[l.Reason]++
	}
	if len(reasons) != 2 || reasons[dlq.ReasonDeliveryLimit] != 1 {
		t.Errorf("letters by reason %v, want one over the delivery limit and two of the handler", reasons)
	}
	s := bus.Stats()
	if s.EventsConsumed != 6 || s.EventsProcessedSuccess != 3 || s.EventsProcessedFailed != 3 || s.MessagesSentToDLQ != 3 || s.LastErrorAt.IsZero() {
		t.Errorf("statistics %+v", s)
	}
	// Handled is told at once; the acks travel together, within AckDelay.
	eventually(t, "all six are acknowledged", func() bool {
		info, err := bus.StreamInfo(t.Context())
		return err == nil && info.PendingMessages == 0
	})
	info, err := bus.StreamInfo(t.Context())
	if err != nil || info.DLQMessages != 3 || info.PendingMessages != 0 || info.Stream.Length != 6 {
		t.Errorf("stream info %+v, %v", info, err)
	}
	if lag, err := bus.Lag(t.Context()); lag != 0 || err != nil {
		t.Errorf("lag %d, %v", lag, err)
	}
	bus.ResetStats()
	if s, tr := bus.Stats(), bus.TransportStats(); s.EventsConsumed != 0 || s.MessagesSentToDLQ != 0 || tr.Claimed != 0 || tr.Acked != 0 {
		t.Errorf("after a reset: %+v, %+v", s, tr)
	}
	if removed, err := bus.RemoveDeadConsumers(t.Context(), 0); err != nil || !contains(removed, "dead") {
		t.Errorf("removed %v, %v, want the dead one", removed, err)
	}
}

func contains(all []string, one string) bool {
	return strings.Contains(strings.Join(all, "\n"), one)
}

// A letter that the delivery limit made is replayed like any other.
func TestBus_LetterOfTheDeliveryLimitIsReplayed(t *testing.T) {
	client := shared(t)
	prefix := name("replay")
	stream := prefix + ":stream"
	bus := openBus(t, redisbus.Config{Client: client, StreamPrefix: prefix, ConsumerGroup: "g", MaxDeliveries: 2})
	if err := bus.Publish(t.Context(), placed("killer")); err != nil {
		t.Fatal(err)
	}
	client.XGroupCreate(t.Context(), stream, "g", "0")
	deliveries(t, client, stream, "dead", 2, time.Hour, die(t, client, stream, "dead", 1)...)
	handled := make(chan string, 1)
	handle(t, bus, func(_ context.Context, e Placed) error { handled <- e.Note; return nil })
	run(t, bus)
	eventually(t, "it is buried", func() bool { n, _ := bus.DeadLetters().Count(t.Context()); return n == 1 })
	for l := range bus.DeadLetters().List(t.Context(), dlq.Query{}) {
		if err := bus.DeadLetters().Replay(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case note := <-handled:
		if note != "killer" {
			t.Errorf("%s was handled", note)
		}
	case <-time.After(patience):
		t.Error("the replayed event was not handled")
	}
	eventually(t, "the letter is gone", func() bool { n, err := bus.DeadLetters().Count(t.Context()); return n == 0 && err == nil })
}

func TestBus_DisabledDeadLettersDropWhatKillsToo(t *testing.T) {
	client := shared(t)
	prefix := name("disabled")
	log := &lines{}
	bus := openBus(t, redisbus.Config{Client: client, StreamPrefix: prefix, ConsumerGroup: "g", MaxDeliveries: 2, DisableDLQ: true, Logger: slog.New(log)})
	if err := bus.Publish(t.Context(), placed("killer")); err != nil {
		t.Fatal(err)
	}
	client.XGroupCreate(t.Context(), prefix+":stream", "g", "0")
	deliveries(t, client, prefix+":stream", "dead", 2, time.Hour, die(t, client, prefix+":stream", "dead", 1)...)
	handle(t, bus, func(context.Context, Placed) error { t.Error("it was handled"); return nil })
	run(t, bus)
	eventually(t, "nothing is pending", func() bool { return pendingOf(t, client, prefix+":stream", "g") == 0 })
	if s := bus.Stats(); s.MessagesSentToDLQ != 0 || s.EventsProcessedFailed != 1 || s.EventsConsumed != 1 {
		t.Errorf("statistics %+v, want one failed and no letter", s)
	}
	if n := client.Exists(t.Context(), prefix+":stream_dlq").Val(); n != 0 {
		t.Error("there is a dead letter stream")
	}
	if said := log.Above(slog.LevelError); len(said) != 2 || !strings.Contains(strings.Join(said, ""), "event_id") {
		t.Errorf("it said %q, want an error with the event's id", said)
	}
}

func TestBus_ShutdownClosesWhatItOpenedAndNothingElse(t *testing.T) {
	leaktest.Check(t)
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	admin := connect(t, server.URL())
	before := stat(t, admin, "clients", "connected_clients")
	bus := openBus(t, redisbus.Config{URL: server.URL()})
	handled := make(chan struct{})
	handle(t, bus, func(context.Context, Placed) error { close(handled); return nil })
	run(t, bus)
	if err := bus.Publish(t.Context(), placed("1")); err != nil {
		t.Fatal(err)
	}
	<-handled
	if report, err := bus.Shutdown(t.Context()); err != nil || report.HandedBack != 0 {
		t.Errorf("shutdown: %+v, %v", report, err)
	}
	eventually(t, "its connections are closed", func() bool { return stat(t, admin, "clients", "connected_clients") == before })
	if err := bus.Publish(t.Context(), placed("2")); !errors.Is(err, eventbus.ErrClosed) {
		t.Errorf("publish after it: %v", err)
	}
	given := openBus(t, redisbus.Config{Client: admin})
	if _, err := given.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := admin.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client that was given: %v", err)
	}
}

func TestBus_HandedBackIsCountedAndDeadlineIsTold(t *testing.T) {
	client := shared(t)
	bus := openBus(t, redisbus.Config{Client: client})
	started := make(chan struct{}, 1)
	handle(t, bus, func(ctx context.Context, _ Placed) error {
		started <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	var ran sync.WaitGroup
	ran.Go(func() { _ = bus.Run(context.WithoutCancel(t.Context())) })
	for i := range 5 {
		if err := bus.Publish(t.Context(), placed(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	<-started
	eventually(t, "all are in flight", func() bool { return bus.TransportStats().InFlight == 5 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	report, err := bus.Shutdown(ctx)
	ran.Wait()
	if !errors.Is(err, router.ErrCloseTimeout) && !errors.Is(err, router.ErrDrainDeadline) || report.HandedBack != 5 || report.Finished != 0 {
		t.Errorf("shutdown: %+v, %v, want five handed back", report, err)
	}
	if s := bus.Stats(); s.EventsHandedBack != 5 || s.EventsConsumed != 0 || s.MessagesSentToDLQ != 0 {
		t.Errorf("statistics %+v", s)
	}
}

func TestConfig_ShowsNoSecretAndTellsAllMistakes(t *testing.T) {
	cfg := redisbus.Config{
		URL: "redis://" + canary + ":" + canary + "@example.com:1?x=" + canary, Concurrency: -1, MaxInFlight: -1, BatchSize: -1,
		StreamPrefix: "a b", ConsumerGroup: "c d", MaxLen: 1, MaxAge: 1, Form: 7,
	}
	_, err := redisbus.Open(t.Context(), cfg)
	if err == nil {
		t.Fatal("it was opened")
	}
	for _, field := range []string{"URL", "Concurrency", "MaxInFlight", "BatchSize", "StreamPrefix", "ConsumerGroup", "MaxAge", "Form", "Registry"} {
		if n := strings.Count(err.Error(), "redisbus: Config."+field+":"); n != 1 {
			t.Errorf("%s is told %d times in\n%v", field, n, err)
		}
	}
	if !errors.Is(err, eventbus.ErrInvalidName) {
		t.Errorf("err = %v, want it to wrap ErrInvalidName", err)
	}
	if shown := formats(t, cfg) + formats(t, &cfg) + formats(t, err); strings.Contains(shown, canary) {
		t.Errorf("the secret is shown: %s", shown)
	}
	if shown := fmt.Sprint(redisbus.Config{StreamPrefix: "orders"}); !strings.Contains(shown, "orders:stream_dlq") || !strings.Contains(shown, "redis://localhost:6379") {
		t.Errorf("shown as %s, want names and server", shown)
	}
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = gone.Close() })
	reg := eventbus.NewRegistry()
	var connect *redisbus.ConnectError
	if _, err := redisbus.Open(t.Context(), redisbus.Config{Client: gone, Registry: reg}); !errors.As(err, &connect) {
		t.Errorf("open with a client that cannot connect: %v", err)
	}
	if _, err := redisbus.Open(t.Context(), redisbus.Config{Client: gone, URL: "redis://localhost", Registry: reg}); err == nil || errors.As(err, &connect) {
		t.Errorf("client and URL together: %v", err)
	}
}
