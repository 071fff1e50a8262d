package redisbus_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
	"github.com/leat-go/leat/internal/leaktest"
)

// through starts a server and a proxy in front of it.
func through(t *testing.T) (*proxy.Proxy, *brokers.Instance) {
	t.Helper()
	server := brokers.StartRedis(t, brokers.RedisOptions{})
	p, err := proxy.Start(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, server
}

// The network's faults under load; the oracle judges.
func TestFaults_Network(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name  string
		fault func(t *testing.T, p *proxy.Proxy, o *oracle)
	}{
		{"cut, again and again", func(_ *testing.T, p *proxy.Proxy, o *oracle) {
			for range 20 {
				p.Cut()
				o.Progress(20)
			}
		}},
		{"answers cut in the middle", func(_ *testing.T, p *proxy.Proxy, o *oracle) {
			for i := range 20 {
				p.CutAfter(proxy.ToClient, int64(37*i))
				o.Progress(20)
			}
		}},
		{"requests cut in the middle", func(_ *testing.T, p *proxy.Proxy, o *oracle) {
			for i := range 20 {
				p.CutAfter(proxy.ToServer, int64(53*i))
				o.Progress(20)
			}
		}},
		{"answers stalled past the deadlines", func(_ *testing.T, p *proxy.Proxy, _ *oracle) {
			p.Stall(proxy.ToClient)
			<-time.After(2500 * time.Millisecond)
			p.Flow(proxy.ToClient)
		}},
		{"refused for a while", func(t *testing.T, p *proxy.Proxy, _ *oracle) {
			t.Helper()
			if err := p.Refuse(); err != nil {
				t.Fatal(err)
			}
			<-time.After(700 * time.Millisecond)
			if err := p.Accept(); err != nil {
				t.Fatal(err)
			}
		}},
		{"half-open connections", func(_ *testing.T, p *proxy.Proxy, _ *oracle) { p.HalfOpen() }},
		{"far away", func(_ *testing.T, p *proxy.Proxy, o *oracle) {
			p.Delay(20 * time.Millisecond)
			o.Progress(200)
			p.Delay(0)
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p, _ := through(t)
			client, err := redisbus.OpenClient(t.Context(), redisbus.ClientConfig{URL: "redis://" + p.Addr(), SocketTimeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Close() })
			// A half-open read is noticed after BlockTime and the ten seconds that
			// go-redis adds to it.
			o := observe(t, client, redisbus.SubscriberConfig{BlockTime: 200 * time.Millisecond})
			o.Progress(100)
			f.fault(t, p, o)
			o.Progress(200)
			o.judge()
		})
	}
}

// The request arrives and the answer does not: unknown, and at most one copy.
func TestFaults_CutBetweenPublishAndConfirmIsUnknown(t *testing.T) {
	leaktest.Check(t)
	p, server := through(t)
	client := connect(t, "redis://"+p.Addr())
	admin := connect(t, server.URL())
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, "s", msg("before", ""))
	batch := make([]*message.Message, 50)
	partial := false
	for round := 0; !partial && round < 50; round++ {
		for i := range batch {
			batch[i] = msg(fmt.Sprint(round, "/", i), "")
		}
		p.CutAfter(proxy.ToClient, 100) // the answers to three or four
		errs := pub.PublishBatch(t.Context(), "s", batch)
		if len(errs) != 50 {
			t.Fatalf("%d results, want one for each message", len(errs))
		}
		copies := map[any]int{}
		for _, e := range admin.XRange(t.Context(), "s", "-", "+").Val() {
			copies[e.Values["_watermill_message_uuid"]]++
		}
		for i, err := range errs {
			switch n := copies[batch[i].UUID]; {
			case err == nil && n != 1:
				t.Errorf("message %d is confirmed and there %d times", i, n)
			case err == nil:
				partial = true // the reset may also take the answers with it
			case !errors.Is(err, redisbus.ErrUnknown):
				t.Errorf("message %d: %v, want ErrUnknown", i, err)
			case n > 1:
				t.Errorf("message %d is there %d times", i, n)
			}
		}
		eventually(t, "publishing works again", func() bool { return pub.Publish("warm", msg("warm", "")) == nil })
	}
	if !partial {
		t.Error("no message was confirmed in 50 rounds, although answers came before the cut")
	}
	eventually(t, "publishing works again", func() bool { return pub.Publish("s", msg("after", "")) == nil })
}

// Entries that the server sent into a cut connection are pending and unseen:
// they come as soon as the reader is back, not after the idle time of a minute,
// and the cut counts as no delivery.
func TestFaults_EntriesInACutReadComeAtOnce(t *testing.T) {
	p, server := through(t)
	client := connect(t, "redis://"+p.Addr())
	direct := connect(t, server.URL())
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, "s")
	eventually(t, "the reader waits", func() bool { return stat(t, direct, "clients", "blocked_clients") == 1 })
	p.CutAfter(proxy.ToClient, 10)
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: direct}), "s", msg("1", ""), msg("2", ""))
	for _, want := range []string{"1", "2"} {
		m := next(t, out)
		if c := deliveryCount(m); m.UUID != want || c != 1 {
			t.Errorf("%s came as delivery %d, want %s as the first", m.UUID, c, want)
		}
		m.Ack()
	}
	if n := sub.Stats().Reconnections; n != 1 {
		t.Errorf("%d reconnections, want 1", n)
	}
}
