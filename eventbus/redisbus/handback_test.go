package redisbus_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// A heartbeat that is on its way when the drain hands back would tell that all of
// it is held: others would wait for PendingIdleTime.
func TestDrain_NoHeartbeatAfterTheHandingBack(t *testing.T) {
	url := brokers.Redis(t)
	look := connect(t, url)
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.Start(opts.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	opts.Addr = p.Addr()
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	for range 8 {
		stream := fill(t, look, 20)
		sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, PendingIdleTime: 30 * time.Millisecond})
		m := next(t, subscribe(t, sub, stream))
		p.Delay(5 * time.Millisecond) // a heartbeat every ten takes twenty
		none(t, nil, 37*time.Millisecond)
		m.Ack()
		if _, err := sub.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		p.Delay(0)
		left, err := look.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: stream, Group: "g", Start: "-", End: "+", Count: 99}).Result()
		if err != nil || len(left) == 0 {
			t.Fatalf("%d pending, %v, want what is handed back", len(left), err)
		}
		for _, row := range left {
			if row.Idle < time.Hour || row.RetryCount != 0 {
				t.Fatalf("%+v looks as if it were held, want it as idle and not counted", row)
			}
		}
	}
}
