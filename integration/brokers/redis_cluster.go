package brokers

import (
	"context"
	"fmt"
	"strconv"
)

// redisSlots is how many hash slots a cluster divides among its primaries.
const redisSlots = 16384

// RedisCluster is a Redis cluster of the test's own.
type RedisCluster struct {
	// Nodes are the primaries, then one replica of each in the same order when
	// there are replicas.
	Nodes []*Instance
	// IDs are the names of the nodes within the cluster.
	IDs []string
}

// RedisClusterOptions shape a cluster. The zero value is three primaries.
type RedisClusterOptions struct {
	// Redis shapes each node.
	Redis RedisOptions
	// Replicas gives each primary a replica, which takes over when the primary
	// is gone for a second.
	Replicas bool
}

// StartRedisCluster starts three primaries, each with a third of the slots, and
// returns when the cluster works; see [StartRedis].
func StartRedisCluster(tb TB, opts RedisClusterOptions) *RedisCluster {
	tb.Helper()
	const primaries = 3
	n := primaries
	if opts.Replicas {
		n *= 2
	}
	c := &RedisCluster{}
	for range n {
		c.Nodes = append(c.Nodes, startPrivate(tb, KindRedis, func(home) server { return clusterNode{redis{opts.Redis}} }))
	}
	if err := c.form(context.Background(), primaries); err != nil {
		tb.Fatalf("%v", err)
	}

	return c
}

// Addrs returns host:port of the nodes.
func (c *RedisCluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, in := range c.Nodes {
		addrs[i] = in.Addr()
	}

	return addrs
}

// form makes one cluster of the nodes.
func (c *RedisCluster) form(ctx context.Context, primaries int) error {
	for i, in := range c.Nodes {
		id, err := askRedis(ctx, in.Addr(), "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		c.IDs = append(c.IDs, id[0])
		if _, err := askRedis(ctx, in.Addr(), "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return err
		}
		if i < primaries {
			slots := []string{"CLUSTER", "ADDSLOTS"}
			for slot := i * redisSlots / primaries; slot < (i+1)*redisSlots/primaries; slot++ {
				slots = append(slots, strconv.Itoa(slot))
			}
			if _, err := askRedis(ctx, in.Addr(), slots...); err != nil {
				return err
			}
		}
		if i > 0 {
			words := []string{"CLUSTER", "MEET", "127.0.0.1", portOf(c.Nodes[0])}
			if bus, ok := c.Nodes[0].ports[portBus]; ok {
				words = append(words, strconv.Itoa(bus.number))
			}
			if _, err := askRedis(ctx, in.Addr(), words...); err != nil {
				return err
			}
		}
	}
	whole := func(f map[string]string) bool {
		return f["cluster_known_nodes"] == strconv.Itoa(len(c.Nodes)) && f["cluster_slots_ok"] == strconv.Itoa(redisSlots) && f["cluster_state"] == "ok"
	}
	if err := awaitRedis(ctx, "the cluster", c.Nodes, []string{"CLUSTER", "INFO"}, whole); err != nil {
		return err
	}
	for i := primaries; i < len(c.Nodes); i++ {
		if _, err := askRedis(ctx, c.Nodes[i].Addr(), "CLUSTER", "REPLICATE", c.IDs[i-primaries]); err != nil {
			return err
		}
	}
	if len(c.Nodes) == primaries {
		return nil
	}

	return awaitRedis(ctx, "the cluster's replicas", c.Nodes[primaries:], []string{"INFO", "replication"}, func(f map[string]string) bool {
		return f["master_link_status"] == "up"
	})
}

// portBus is where the nodes of a cluster talk to each other.
const portBus = "bus"

// clusterNode starts redis-server as a node of a cluster.
type clusterNode struct{ redis }

// ports has one for the other nodes; before Redis 7, which cannot be told, it
// is not used, and theirs is 10,000 above the plain one.
func (clusterNode) ports() []string { return []string{portPlain, portTLS, portBus} }

func (c clusterNode) prepare(ctx context.Context, in *Instance) error {
	version, err := installedRedis(ctx)
	if err != nil {
		return err
	}
	lines := []string{"cluster-enabled yes", "cluster-node-timeout 1000", "cluster-config-file nodes.conf", syncAtOnce}
	if version >= 7 {
		lines = append(lines, "cluster-port "+strconv.Itoa(in.ports[portBus].number))
	} else {
		in.ports[portBus].release()
		delete(in.ports, portBus)
	}
	c.opts.Config = append(lines, c.opts.Config...)
	if err := c.redis.prepare(ctx, in); err != nil {
		return fmt.Errorf("%w (as a node of a cluster)", err)
	}

	return nil
}
