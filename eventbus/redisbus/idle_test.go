package redisbus_test

import (
	"context"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
)

// processorTime returns how long this process has computed.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A bus of default configuration that has nothing to do: no line above Info, few
// commands, hardly any time of a processor.
func TestBus_IdleCostsNothing(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	admin := connect(t, server.URL())
	log := &lines{}
	bus := openBus(t, redisbus.Config{URL: server.URL(), Logger: slog.New(log)})
	done := make(chan struct{}, 1)
	handle(t, bus, func(context.Context, Placed) error { done <- struct{}{}; return nil })
	run(t, bus)
	if err := bus.Publish(t.Context(), placed("1")); err != nil {
		t.Fatal(err)
	}
	<-done
	eventually(t, "the reader waits", func() bool { return stat(t, admin, "clients", "blocked_clients") == 1 })

	const idle = 6 * time.Second // longer than BlockTime
	commands, computed := stat(t, admin, "stats", "total_commands_processed"), processorTime(t)
	<-time.After(idle)
	computed = processorTime(t) - computed
	commands = stat(t, admin, "stats", "total_commands_processed") - commands - 1
	if commands >= 5*int64(idle/time.Second) {
		t.Errorf("%d commands in %v, want fewer than five a second", commands, idle)
	}
	if computed > idle/50 {
		t.Errorf("%v of a processor in %v, want next to nothing", computed, idle)
	}
	if said := log.Above(slog.LevelWarn); len(said) != 0 {
		t.Errorf("it said %q", said)
	}
	t.Logf("%d commands and %v of a processor in %v", commands, computed, idle)
}
