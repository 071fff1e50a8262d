package transport

import (
	"cmp"
	"context"
	"time"
)

// Bounds of the waiting between attempts. The first is short, because most
// troubles are over at once.
const (
	MinPause = 20 * time.Millisecond
	MaxPause = 2 * time.Second
)

// Backoff doubles the pause between attempts, from [MinPause] on. The zero value
// has not waited yet. It is for one goroutine.
type Backoff struct {
	Most time.Duration // the longest pause; 0 means [MaxPause]

	next time.Duration
}

// Wait pauses, and reports false when ctx ended first.
func (b *Backoff) Wait(ctx context.Context) bool {
	pause := cmp.Or(b.next, MinPause)
	b.next = min(2*pause, cmp.Or(b.Most, MaxPause))
	return Sleep(ctx, pause)
}

// Sleep pauses for d, and reports false when ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Rest pauses for d, and reports false when stop is closed first.
func Rest(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-timer.C:
		return true
	}
}

// Until returns a context that ends with ctx, or when one of the channels is
// closed. The caller cancels it.
func Until(ctx context.Context, channels ...<-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	for _, c := range channels {
		go func() {
			select {
			case <-c:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}
