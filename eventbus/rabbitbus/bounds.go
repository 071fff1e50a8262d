package rabbitbus

import (
	"context"
	"sync"
)

// bounds are the deadlines of a drain: the earliest counts.
type bounds struct {
	deadline chan struct{} // closed when it is reached
	lateOnce sync.Once

	mu    sync.Mutex
	frees []func() // each frees what watches for a deadline
	ended bool
}

// add watches ctx.
func (b *bounds) add(ctx context.Context, cancel func()) {
	unwatch := context.AfterFunc(ctx, func() {
		b.lateOnce.Do(func() { close(b.deadline) })
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frees = append(b.frees, func() { unwatch(); cancel() })
	if b.ended {
		b.release()
	}
}

// end stops watching.
func (b *bounds) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release()
}

func (b *bounds) release() {
	b.ended = true
	for _, free := range b.frees {
		free()
	}
	b.frees = nil
}
