package redisbus_test

import (
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/redisbus"
)

func TestLoss_TrimmingThatOvertakesAGroupIsReported(t *testing.T) {
	client := shared(t)
	if !counts(t, client) {
		t.Skip("Redis 6 does not tell what was trimmed")
	}
	for _, c := range []struct {
		what         string
		readBefore   int // of 1000, before the trimming to 100
		waitForWatch bool
		want         int64
	}{
		{"while the consumer lives and has read some", 10, true, 890},
		{"while no consumer lives", 10, false, 890},
	} {
		stream := fill(t, client, 1000)
		if !c.waitForWatch {
			ids := die(t, client, stream, "dead", c.readBefore)
			client.XAck(t.Context(), stream, "g", ids...)
			client.XTrimMaxLen(t.Context(), stream, 100)
		}
		sub := newSubscriber(t, redisbus.SubscriberConfig{
			Client: client, BatchSize: c.readBefore, MaxInFlight: c.readBefore, PendingIdleTime: 200 * time.Millisecond,
		})
		out := subscribe(t, sub, stream)
		m := next(t, out)
		if c.waitForWatch {
			client.XTrimMaxLen(t.Context(), stream, 100)
		}
		got := 0
		for {
			m.Ack()
			got++
			if m.UUID == "999" {
				break
			}
			m = next(t, out)
		}
		eventually(t, c.what+": the loss is counted", func() bool { return sub.Stats().Lost == c.want })
		if want := int(1000 - c.want); got != want && got != want-c.readBefore {
			t.Errorf("%s: %d came", c.what, got)
		}
		publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("later", ""))
		next(t, out).Ack()
		none(t, out, 250*time.Millisecond)
		if n := sub.Stats().Lost; n != c.want {
			t.Errorf("%s: %d counted, want the same loss once", c.what, n)
		}
		// Nor does the next process tell it again.
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		heir := newSubscriber(t, redisbus.SubscriberConfig{Client: client, PendingIdleTime: 200 * time.Millisecond})
		out = subscribe(t, heir, stream)
		publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("last", ""))
		next(t, out).Ack()
		none(t, out, 150*time.Millisecond)
		if n := heir.Stats().Lost; n != 0 {
			t.Errorf("%s: %d counted by the next process, want none", c.what, n)
		}
	}
}

func TestLoss_NothingIsReportedWhereNothingIsLost(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 500)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, PendingIdleTime: 100 * time.Millisecond})
	out := subscribe(t, sub, stream)
	for i := range 500 {
		next(t, out).Ack()
		if i == 250 {
			client.XTrimMaxLen(t.Context(), stream, 240) // read ones only
		}
	}
	eventually(t, "nothing is pending", func() bool { return pendingOf(t, client, stream, "g") == 0 })
	client.XTrimMaxLen(t.Context(), stream, 0)
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("later", ""))
	next(t, out).Ack()
	none(t, out, 200*time.Millisecond)
	if n := sub.Stats().Lost; n != 0 {
		t.Errorf("%d counted as lost, want none", n)
	}
}
