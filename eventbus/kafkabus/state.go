package kafkabus

import (
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
