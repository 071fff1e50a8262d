package rabbitbus

import (
	"context"
	"testing"
)

// A line that is lost must not be given what is queued: it would give it back,
// and be given it again, for ever.
func TestTake_EndsWithItsContextThoughMuchIsQueued(t *testing.T) {
	t.Parallel()
	p := &Publisher{wake: make(chan struct{}, 1)}
	p.queue = []*request{{items: make([]publishing, 3)}}
	ctx, cancel := context.WithCancel(t.Context())
	next, ok := p.take(ctx)
	if !ok || next.to != 3 {
		t.Fatalf("took %+v, %v", next, ok)
	}
	p.giveBack(next)
	cancel()
	if next, ok := p.take(ctx); ok {
		t.Errorf("took %+v after the end of the context", next)
	}
	if len(p.queue) != 1 || p.queue[0].taken != 0 {
		t.Errorf("the queue is %+v, want it as it was", p.queue)
	}
}

// Large calls take turns with small ones.
func TestTake_TurnsAreFair(t *testing.T) {
	t.Parallel()
	p := &Publisher{wake: make(chan struct{}, 1)}
	large, small := &request{items: make([]publishing, 3*turn)}, &request{items: make([]publishing, 1)}
	p.queue = []*request{large, small}
	var order []*request
	for range 4 {
		next, ok := p.tryTake()
		if !ok || next.to-next.from > turn {
			t.Fatalf("took %+v, %v, want a turn at most", next, ok)
		}
		order = append(order, next.req)
	}
	if order[0] != large || order[1] != small || order[2] != large || order[3] != large {
		t.Errorf("the small call was not the second")
	}
	if _, ok := p.tryTake(); ok {
		t.Error("more was taken than there is")
	}
}
