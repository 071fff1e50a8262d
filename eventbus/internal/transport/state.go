package transport

import (
	"log/slog"
	"sync"
	"time"
)

// State is whether something works. It logs one line when that changes, and
// nothing while it stays. The zero value works, under no name; it may be used
// from many goroutines and must not be copied.
type State struct {
	What string // begins the lines: "reading"

	mu     sync.Mutex
	broken bool
	since  time.Time
}

// Down notes a failure, and reports whether it is a new one.
func (s *State) Down(log *slog.Logger, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return false
	}
	s.broken, s.since = true, time.Now()
	log.Warn(s.What+" failed, trying again", "error", err)
	return true
}

// Up notes a success, and reports whether it ended a failure.
func (s *State) Up(log *slog.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.broken {
		return false
	}
	s.broken = false
	log.Info(s.What+" works again", "after", time.Since(s.since).Round(time.Millisecond))
	return true
}
