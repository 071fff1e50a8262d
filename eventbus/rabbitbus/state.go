package rabbitbus

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// state is whether something works. It logs one line when that changes, and
// nothing while it stays.
type state struct {
	what string

	mu     sync.Mutex
	broken bool
	since  time.Time
}

// down notes a failure, and reports whether it is a new one.
func (s *state) down(log *slog.Logger, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return false
	}
	s.broken, s.since = true, time.Now()
	log.Warn(s.what+" failed, trying again", "error", err)
	return true
}

// up notes a success, and reports whether it ended a failure.
func (s *state) up(log *slog.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.broken {
		return false
	}
	s.broken = false
	log.Info(s.what+" works again", "after", time.Since(s.since).Round(time.Millisecond))
	return true
}

// Bounds of the waiting between attempts. The first is short, because most
// cuts are over at once.
const (
	minPause = 20 * time.Millisecond
	maxPause = 2 * time.Second
)

// backoff doubles the pause between attempts.
type backoff struct{ next time.Duration }

func newBackoff() backoff { return backoff{next: minPause} }

// wait pauses, and reports false when ctx ended first.
func (b *backoff) wait(ctx context.Context) bool {
	pause := b.next
	b.next = min(2*b.next, maxPause)
	return sleep(ctx, pause)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
