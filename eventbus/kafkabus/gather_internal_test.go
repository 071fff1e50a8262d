package kafkabus

import (
	"testing"
	"time"
)

// Calls do not come in the order of their deadlines: one may have waited for its
// topic, or for room. Each ends at its own.
func TestGather_EachCallEndsAtItsOwnDeadline(t *testing.T) {
	t.Parallel()
	g := &gather{room: newRoom(10), senders: []*sender{{}, {}}} // both are at work
	for _, in := range []time.Duration{time.Hour, 20 * time.Millisecond, time.Minute, 10 * time.Millisecond} {
		b := newBatch(1)
		b.deadline, b.left = time.Now().Add(in), 1
		if !g.add(b, true) {
			t.Fatal("a call of a crowd was not taken")
		}
		if in >= time.Minute {
			continue
		}
		select {
		case <-b.ended:
		case <-time.After(10 * time.Second):
			t.Errorf("a call of %v does not end", in)
		}
	}
	for _, b := range g.queue {
		if b.deadline.After(time.Now()) && len(b.ended) > 0 {
			t.Error("a call ended before its deadline")
		}
	}
}
