package brokers_test

import (
	"testing"

	"github.com/leat-go/leat/integration/brokers"
)

var _ brokers.TB = testing.TB(nil)

func TestStartRedis_KeepsConfirmedWritesOverKill(t *testing.T) {
	in := brokers.StartRedis(t, brokers.RedisOptions{})
	redisDo(t, in.Addr(), "SET", "k", "v")
	if err := in.Kill(); err != nil {
		t.Fatal(err)
	}
	if pid := in.PID(); pid != 0 {
		t.Errorf("pid after kill = %d, want 0", pid)
	}
	if err := in.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := redisDo(t, in.Addr(), "GET", "k"); got != "$1\r\nv" {
		t.Errorf("after the kill: %q", got)
	}
}
