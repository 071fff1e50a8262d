package redisbus_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
	"github.com/leat-go/leat/middleware"
)

// dieOfAnEvent is the helper of TestCrash_EventThatKillsItsProcesses: SIGKILL
// inside the handler, as a crash of the whole process would be.
func dieOfAnEvent() int {
	record, err := os.OpenFile(os.Getenv(envRecord), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return 1
	}
	reg := eventbus.NewRegistry()
	if err := eventbus.Register[Placed](reg, "Placed", eventbus.AggregateType("Order")); err != nil {
		return 1
	}
	bus, err := redisbus.Open(context.Background(), redisbus.Config{
		URL: os.Getenv(envHelper), StreamPrefix: "killer", ConsumerGroup: "g", ConsumerName: "victim",
		Concurrency: 4, Registry: reg,
	})
	if err != nil {
		return 1
	}
	_, err = eventbus.Subscribe(bus, "h", func(_ context.Context, e Placed) error {
		_, err := fmt.Fprintln(record, e.Note)
		if e.Note == "killer" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
		return err
	})
	if err != nil {
		return 1
	}
	_ = bus.Run(context.Background())
	return 0
}

// An event kills every process that handles it. After MaxDeliveries of them it
// is buried; all others are handled, and none is buried with it.
func TestCrash_EventThatKillsItsProcesses(t *testing.T) {
	t.Parallel()
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	bus := openBus(t, redisbus.Config{URL: server.URL(), StreamPrefix: "killer"})
	const others = 20
	for i := range others {
		note := strconv.Itoa(i)
		if i == others/2 {
			note = "killer"
		}
		if err := bus.Publish(t.Context(), placed(note)); err != nil {
			t.Fatal(err)
		}
	}
	record := filepath.Join(t.TempDir(), "record")
	if err := os.WriteFile(record, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deaths := 0
	died := make(chan struct{}, 1)
	start := func() *exec.Cmd {
		cmd := startHelper(t, server.URL(), record, "killer")
		go func() { _, _ = cmd.Process.Wait(); died <- struct{}{} }() // not Cmd.Wait: that is the cleanup's
		return cmd
	}
	victim := start()
	deadline := time.After(2 * patience)
	for buried := false; !buried; {
		select {
		case <-died:
			deaths++
			victim = start()
		case <-time.After(20 * time.Millisecond):
			n, err := bus.DeadLetters().Count(t.Context())
			buried = n > 0 && err == nil
		case <-deadline:
			t.Fatalf("not buried after %d deaths", deaths)
		}
	}
	eventually(t, "all others are handled", func() bool { return len(finished(t, record)) == others })
	if done := finished(t, record); deaths != redisbus.DefaultMaxDeliveries || done["killer"] != deaths {
		t.Errorf("%d processes died, it was handled %d times; want MaxDeliveries", deaths, done["killer"])
	}
	eventually(t, "nothing is pending", func() bool {
		info, err := bus.StreamInfo(t.Context())
		return err == nil && info.PendingMessages == 0
	})
	for l, err := range bus.DeadLetters().List(t.Context(), dlq.Query{}) {
		if err != nil || l.Key != "killer" || l.Reason != dlq.ReasonDeliveryLimit || l.Attempts != deaths {
			t.Errorf("letter %+v, %v", l, err)
		}
	}
	if err := victim.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-died
}

// A process is cut off after its handler succeeded and before the ack: the event
// is delivered again, to another one, under the same id, so that the idempotency
// middleware sees it.
func TestCrash_BetweenHandlerAndAckTheEventComesAgain(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	p, err := proxy.Start(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	seen := middleware.NewMemSeen(middleware.MemSeenConfig{})
	var handled, skipped atomic.Int64
	open := func(url string) *redisbus.Bus {
		bus := openBus(t, redisbus.Config{
			URL: url, StreamPrefix: "again", ConsumerGroup: "g", PendingIdleTime: crashRecovery,
			HandlerMiddleware: []message.HandlerMiddleware{
				middleware.Idempotency{Store: seen, OnSkipped: func(*message.Message) { skipped.Add(1) }}.Middleware,
			},
		})
		handle(t, bus, func(context.Context, Placed) error {
			handled.Add(1)
			if handled.Load() == 1 {
				_ = p.Refuse() // from here on, the server hears nothing of this process
				p.Cut()
			}
			return nil
		})
		return bus
	}
	dying := open("redis://" + p.Addr())
	run(t, dying)
	heir := open(server.URL())
	if err := heir.Publish(t.Context(), placed("once")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first one has handled it", func() bool { return handled.Load() == 1 })
	run(t, heir)
	eventually(t, "it is acknowledged by the other", func() bool {
		info, err := heir.StreamInfo(t.Context())
		return err == nil && info.PendingMessages == 0
	})
	if handled.Load() != 1 || skipped.Load() != 1 {
		t.Errorf("handled %d times and skipped %d times, want once each", handled.Load(), skipped.Load())
	}
	if c := heir.TransportStats().Claimed; c != 1 {
		t.Errorf("%d claimed, want 1", c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if report, _ := dying.Shutdown(ctx); report.HandedBack != 1 {
		t.Errorf("the cut off one reports %+v, want its event as not finished", report)
	}
}
