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

// Of a request of which only some is answered each call ends with its own records,
// and its memory stays its own: the client is not done with it.
func TestBatch_EndsAloneOnceItIsParted(t *testing.T) {
	t.Parallel()
	b := newBatch(2)
	b.left = 2
	room := newRoom(10)
	room.try(b.left)
	b.learn(&b.records[0], nil)
	b.part(room)
	if len(b.ended) != 0 || room.taken != 1 {
		t.Errorf("with the first of two records it ended (%d), or has room for %d, want 1", len(b.ended), room.taken)
	}
	b.learn(&b.records[1], nil)
	b.learn(&b.records[1], nil) // the client says it twice
	if room.taken != 0 {
		t.Errorf("it has room for %d, want none", room.taken)
	}
	if len(b.ended) != 1 {
		t.Error("it does not end, though all of it is known")
	}
	if errs := b.merge(b.outcome); errs != nil {
		t.Errorf("outcome %v, want no error", errs)
	}
	g, sole := &gather{}, newBatch(1)
	sole.left = 1
	sole.learn(&sole.records[0], nil)
	sole.part(newRoom(10))
	if len(sole.ended) != 1 {
		t.Error("one that is known already does not end")
	}
	g.recycle(sole)
	if g.spare.Get() != nil {
		t.Error("its memory is used again")
	}
}
