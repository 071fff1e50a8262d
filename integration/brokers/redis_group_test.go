package brokers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/integration/brokers"
)

func TestRedisSentinel_ReplicaTakesOver(t *testing.T) {
	t.Parallel()
	s := brokers.StartRedisSentinel(t, brokers.RedisOptions{})
	first, err := s.Primary(t.Context())
	if err != nil || first != s.Nodes[0] {
		t.Fatalf("the primary is %v, %v, want the first node", first, err)
	}
	if got := redisDo(first.Addr(), "SET", "key", "v"); got != "+OK" {
		t.Fatalf("SET: %s", got)
	}
	if got := redisDo(first.Addr(), "WAIT", "1", "5000"); got != ":1" {
		t.Fatalf("WAIT: %s", got)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for now := first; now == first; {
		if now, err = s.Primary(t.Context()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("no failover within thirty seconds")
		}
		<-time.After(20 * time.Millisecond)
	}
	if got := redisDo(s.Nodes[1].Addr(), "GET", "key"); got != "$1\r\nv" {
		t.Errorf("on the new primary: %q", got)
	}
}

func TestRedisCluster_SlotsAreSharedAndReplicated(t *testing.T) {
	t.Parallel()
	c := brokers.StartRedisCluster(t, brokers.RedisClusterOptions{Replicas: true})
	moved, taken := 0, 0
	for _, in := range c.Nodes[:3] {
		switch got := redisDo(in.Addr(), "SET", "key", "v"); {
		case strings.HasPrefix(got, "-MOVED 12539 127.0.0.1:"):
			moved++
		case got == "+OK":
			taken++
		default:
			t.Errorf("SET: %s", got)
		}
	}
	if taken != 1 || moved != 2 {
		t.Errorf("%d nodes took the key and %d knew another, want 1 and 2", taken, moved)
	}
	for i, in := range c.Nodes[3:] {
		if got := redisDo(in.Addr(), "CLUSTER", "NODES"); !strings.Contains(got, "myself,slave "+c.IDs[i]+" ") {
			t.Errorf("node %d is no replica of node %d: %s", i+3, i, got)
		}
	}
}
