package redisbus_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// cluster is a client of a cluster, and who owns what in it.
type cluster struct {
	*brokers.RedisCluster

	t      *testing.T
	client *redis.ClusterClient
}

func startCluster(t *testing.T, opts brokers.RedisClusterOptions) *cluster {
	t.Helper()
	c := &cluster{RedisCluster: brokers.StartRedisCluster(t, opts), t: t}
	// It learns of changes from answers alone, not from its clock.
	c.client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ClusterStateReloadInterval: time.Hour})
	t.Cleanup(func() { _ = c.client.Close() })
	return c
}

// owner returns the number of the node that serves the key.
func (c *cluster) owner(key string) int {
	c.t.Helper()
	for i, in := range c.Nodes {
		node := redis.NewClient(&redis.Options{Addr: in.Addr(), MaxRetries: -1, DialerRetries: 1})
		err := node.Exists(c.t.Context(), key).Err()
		_ = node.Close()
		if err == nil {
			return i
		}
	}
	return -1
}

// move gives the slot of a key to another node, as redis-cli --cluster reshard
// does it.
func (c *cluster) move(key string, from, to int) {
	c.t.Helper()
	slot := c.client.ClusterKeySlot(c.t.Context(), key).Val()
	src, dst := connect(c.t, c.Nodes[from].URL()), connect(c.t, c.Nodes[to].URL())
	host, port, _ := net.SplitHostPort(c.Nodes[to].Addr())
	must := func(node *redis.Client, words ...any) {
		c.t.Helper()
		if err := node.Do(c.t.Context(), words...).Err(); err != nil {
			c.t.Fatalf("%v: %v", words, err)
		}
	}
	must(dst, "cluster", "setslot", slot, "importing", c.IDs[from])
	must(src, "cluster", "setslot", slot, "migrating", c.IDs[to])
	for {
		keys := src.ClusterGetKeysInSlot(c.t.Context(), int(slot), 100).Val()
		if len(keys) == 0 {
			break
		}
		for _, k := range keys {
			must(src, "migrate", host, port, k, 0, 5000)
		}
	}
	for _, node := range []*redis.Client{dst, src} {
		must(node, "cluster", "setslot", slot, "node", c.IDs[to])
	}
}

// The whole way of an event, letters included, where every key has its node. The
// hash tag keeps stream and dead letters together.
func TestCluster_BusWithAHashTag(t *testing.T) {
	t.Parallel()
	c := startCluster(t, brokers.RedisClusterOptions{Redis: brokers.RedisOptions{Fsync: brokers.NoAppendOnly}})
	slots := map[int64]bool{}
	for _, prefix := range []string{"{orders}", "{orders}.eu", "plain"} {
		b := watchLetters(t, redisbus.Config{Client: c.client, StreamPrefix: prefix})
		b.fail("first")
		b.fail("second")
		info, err := b.bus.StreamInfo(t.Context())
		if err != nil || info.Stream.Length != 2 || info.DLQMessages != 2 {
			t.Errorf("%s: %+v, %v", prefix, info, err)
		}
		b.replay("first", "second")
		if prefix != "plain" {
			slots[c.client.ClusterKeySlot(t.Context(), prefix+":stream").Val()] = true
			slots[c.client.ClusterKeySlot(t.Context(), prefix+":stream_dlq").Val()] = true
		}
	}
	if len(slots) != 1 {
		t.Errorf("streams of one hash tag are in the slots %v, want one", slots)
	}
}

// The slot of the stream moves to another node and on, under load: nothing is
// lost, and nothing is handled twice, because nothing breaks.
func TestCluster_ReshardingUnderLoad(t *testing.T) {
	t.Parallel()
	c := startCluster(t, brokers.RedisClusterOptions{Redis: brokers.RedisOptions{Fsync: brokers.NoAppendOnly}})
	o := observe(t, c.client, redisbus.SubscriberConfig{})
	o.Progress(100)
	for range 4 {
		at := c.owner(o.Topic)
		c.move(o.Topic, at, (at+1)%3)
		o.Progress(100)
	}
	o.judge()
}

// The slot moves while the reader waits in an empty stream and nothing else
// tells the client: it follows by itself.
func TestCluster_IdleReaderFollowsItsSlot(t *testing.T) {
	t.Parallel()
	c := startCluster(t, brokers.RedisClusterOptions{Redis: brokers.RedisOptions{Fsync: brokers.NoAppendOnly}})
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: c.client})
	out := subscribe(t, sub, "idle")
	at := c.owner("idle")
	node := connect(t, c.Nodes[at].URL())
	eventually(t, "the reader waits", func() bool { return stat(t, node, "clients", "blocked_clients") == 1 })
	to := (at + 1) % 3
	c.move("idle", at, to)
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: connect(t, c.Nodes[to].URL())}), "idle", msg("1", ""))
	m := next(t, out)
	if n := deliveryCount(m); n != 1 {
		t.Errorf("it came as delivery %d, want the first", n)
	}
	m.Ack()
}

// A primary is killed, its replica takes over.
func TestCluster_NodeLost(t *testing.T) {
	t.Parallel()
	c := startCluster(t, brokers.RedisClusterOptions{Replicas: true})
	o := observe(t, c.client, redisbus.SubscriberConfig{})
	// A process that only publishes has no reader to notice it.
	alone := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ClusterStateReloadInterval: time.Hour})
	t.Cleanup(func() { _ = alone.Close() })
	pub := newPublisher(t, redisbus.PublisherConfig{Client: alone})
	o.Progress(100)
	at := c.owner(o.Topic)
	beside := "{" + o.Topic + "}:beside"
	publish(t, pub, beside, msg("before", ""))
	kept := o.Confirmed()
	replicated(t, connect(t, c.Nodes[at].URL()), "{"+o.Topic+"}")
	if err := c.Nodes[at].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its replica has the slot", func() bool { return c.owner(o.Topic) == at+3 })
	o.forgive(kept)
	eventually(t, "a publisher alone finds the heir", func() bool { return pub.Publish(beside, msg("after", "")) == nil })
	o.Progress(200)
	o.judge()
	reconnected(t, o)
}

// What a cluster's client would send again by itself it must not: a cut between
// an XADD and its answer leaves one copy.
func TestCluster_NothingIsSentTwice(t *testing.T) {
	t.Parallel()
	c := startCluster(t, brokers.RedisClusterOptions{Redis: brokers.RedisOptions{Fsync: brokers.NoAppendOnly}})
	var proxies []*proxy.Proxy
	through := map[string]string{}
	for _, in := range c.Nodes {
		p, err := proxy.Start(in.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		proxies = append(proxies, p)
		through[in.Addr()] = p.Addr()
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.Addrs(),
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, through[addr])
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, "once", msg("warm", ""))
	proxies[c.owner("once")].CutAfter(proxy.ToClient, 1)
	err := pub.Publish("once", msg("1", ""))
	eventually(t, "publishing works again", func() bool { return pub.Publish("other", msg("x", "")) == nil })
	var ids []string
	for _, e := range c.client.XRange(t.Context(), "once", "-", "+").Val() {
		id, _ := e.Values["_watermill_message_uuid"].(string)
		ids = append(ids, id)
	}
	if !slices.Equal(ids, []string{"warm", "1"}) {
		t.Errorf("the stream has %v after %v, want one copy", ids, err)
	}
	if !errors.Is(err, redisbus.ErrUnknown) {
		t.Errorf("err = %v, want ErrUnknown", err)
	}
}
