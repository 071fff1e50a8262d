package tracing

import (
	"context"
	"sync"
)

// attempts counts, for one delivery, how often each handler has begun. Consume
// puts it into the context, so that Handle can number its spans also where
// something other than middleware.Retry does the retrying.
type attempts struct {
	mu   sync.Mutex
	runs []run // few: one for each handler of one event
}

type run struct {
	handler string
	n       int
}

type attemptsKey struct{}

func withAttempts(ctx context.Context) context.Context {
	return context.WithValue(ctx, attemptsKey{}, new(attempts))
}

// begin returns the number of this attempt of handler, 1 the first, and 0
// outside of Consume.
func begin(ctx context.Context, handler string) int {
	a, ok := ctx.Value(attemptsKey{}).(*attempts)
	if !ok {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.runs {
		if a.runs[i].handler == handler {
			a.runs[i].n++
			return a.runs[i].n
		}
	}
	a.runs = append(a.runs, run{handler, 1})
	return 1
}
