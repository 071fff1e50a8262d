package brokers

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// RedisMaster is the name under which the sentinels of [StartRedisSentinel]
// know their primary.
const RedisMaster = "leat"

// RedisSentinel is a Redis primary, a replica of it, and three sentinels that
// make the replica the primary when the first one is gone for half a second.
type RedisSentinel struct {
	// Nodes are the servers; the first is the primary at the start.
	Nodes []*Instance
	// Sentinels watch them. Two of the three must agree.
	Sentinels []*Instance
}

// syncAtOnce has a primary not wait five seconds for more replicas.
const syncAtOnce = "repl-diskless-sync-delay 0"

// sentinelQuorum is how many sentinels must agree.
const sentinelQuorum = 2

// StartRedisSentinel starts primary, replica and sentinels of the test's own,
// and returns when the replica is in step and the sentinels know each other;
// see [StartRedis].
func StartRedisSentinel(tb TB, opts RedisOptions) *RedisSentinel {
	tb.Helper()
	s := &RedisSentinel{}
	opts.Config = append([]string{syncAtOnce}, opts.Config...)
	first := StartRedis(tb, opts)
	follow := opts
	follow.Config = append([]string{"replicaof 127.0.0.1 " + portOf(first)}, opts.Config...)
	s.Nodes = []*Instance{first, StartRedis(tb, follow)}
	for range 3 {
		s.Sentinels = append(s.Sentinels, startPrivate(tb, KindRedis, func(home) server { return sentinel{portOf(first)} }))
	}

	ctx := context.Background()
	err := awaitRedis(ctx, "the replica", s.Nodes[1:], []string{"INFO", "replication"}, func(f map[string]string) bool {
		return f["master_link_status"] == "up"
	})
	if err == nil {
		err = awaitRedis(ctx, "the sentinels", s.Sentinels, []string{"SENTINEL", "MASTER", RedisMaster}, func(f map[string]string) bool {
			return f["num-slaves"] == "1" && f["num-other-sentinels"] == "2" && f["flags"] == "master"
		})
	}
	if err != nil {
		tb.Fatalf("%v", err)
	}

	return s
}

// Addrs returns host:port of the sentinels.
func (s *RedisSentinel) Addrs() []string {
	addrs := make([]string, len(s.Sentinels))
	for i, in := range s.Sentinels {
		addrs[i] = in.Addr()
	}

	return addrs
}

// Primary asks the first sentinel which of the nodes is the primary now.
func (s *RedisSentinel) Primary(ctx context.Context) (*Instance, error) {
	reply, err := askRedis(ctx, s.Sentinels[0].Addr(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", RedisMaster)
	if err != nil {
		return nil, err
	}
	for _, in := range s.Nodes {
		if len(reply) == 2 && reply[0]+":"+reply[1] == in.Addr() {
			return in, nil
		}
	}

	return nil, fmt.Errorf("brokers: ask the sentinel for the primary: it says %q", reply)
}

func portOf(in *Instance) string { return strconv.Itoa(in.ports[portPlain].number) }

// sentinel starts redis-server as a sentinel of the primary at a port.
type sentinel struct{ primary string }

func (sentinel) ports() []string { return []string{portPlain} }

func (s sentinel) prepare(ctx context.Context, in *Instance) error {
	version, err := installedRedis(ctx)
	if err != nil {
		return err
	}
	lines := []string{
		"bind 127.0.0.1",
		"port " + portOf(in),
		"dir " + strconv.Quote(in.folder),
		"sentinel monitor " + RedisMaster + " 127.0.0.1 " + s.primary + " " + strconv.Itoa(sentinelQuorum),
		"sentinel down-after-milliseconds " + RedisMaster + " 500",
		"sentinel failover-timeout " + RedisMaster + " 3000",
	}
	if version >= 7 {
		lines = append(lines, "set-proc-title no") // see redis.config
	}
	// The sentinel writes what it learns into the same file.
	if err := os.WriteFile(in.file("sentinel.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("brokers: start sentinel: %w", err)
	}

	return nil
}

func (sentinel) commands(in *Instance) []command {
	return redisCommand(in, in.file("sentinel.conf"), "--sentinel")
}

// certificate is none: a sentinel has no TLS listener here.
func (sentinel) certificate() string { return "" }

func (sentinel) vars(in *Instance) []Var {
	return []Var{{EnvRedisURL, "redis://" + in.Addr()}}
}
