package redisbus

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
	log.Warn(s.what+" failed, trying again", "error", refused(err))
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
// cuts are over at once. Acks wait less: only while the reader is connected do
// they try at all.
const (
	minPause    = 20 * time.Millisecond
	maxPause    = 2 * time.Second
	maxAckPause = 200 * time.Millisecond
)

// backoff doubles the pause between attempts.
type backoff struct{ next, most time.Duration }

func newBackoff(most time.Duration) backoff { return backoff{next: minPause, most: most} }

// wait pauses, and reports false when ctx ended first.
func (b *backoff) wait(ctx context.Context) bool {
	pause := b.next
	b.next = min(2*b.next, b.most)
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
