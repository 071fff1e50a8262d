package middleware

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// DefaultMemSeenMax is how many keys a [MemSeen] remembers: some 20 MiB. A
// repetition that comes after so many other messages is handled again.
const DefaultMemSeenMax = 100_000

// MemSeenConfig bounds a [MemSeen].
type MemSeenConfig struct {
	// Max is how many handled keys are remembered; the oldest are forgotten first.
	// 0 or less means DefaultMemSeenMax. Keys that are being handled do not count.
	Max int

	// TTL is how long a key is remembered. 0 or less: until Max others have come.
	TTL time.Duration
}

// MemSeen is a [Seen] in memory: bounded, and for one process. Consumers in
// several processes need a store that they share.
type MemSeen struct {
	max int
	ttl time.Duration

	mu    sync.Mutex
	done  map[string]*list.Element // to a *seenKey in order
	order *list.List               // oldest mark first
	busy  map[string]chan struct{} // closed when the owner is through
}

type seenKey struct {
	key string
	at  time.Time
}

var _ Seen = (*MemSeen)(nil)

// NewMemSeen returns an empty store.
func NewMemSeen(c MemSeenConfig) *MemSeen {
	if c.Max <= 0 {
		c.Max = DefaultMemSeenMax
	}
	return &MemSeen{
		max: c.Max, ttl: c.TTL,
		done: make(map[string]*list.Element), order: list.New(), busy: make(map[string]chan struct{}),
	}
}

// Begin implements [Seen].
func (s *MemSeen) Begin(ctx context.Context, key string) (bool, error) {
	for {
		s.mu.Lock()
		s.forget(time.Now())
		if _, ok := s.done[key]; ok {
			s.mu.Unlock()
			return true, nil
		}
		through, taken := s.busy[key]
		if !taken {
			s.busy[key] = make(chan struct{})
			s.mu.Unlock()
			return false, nil
		}
		s.mu.Unlock()
		select {
		case <-through:
		case <-ctx.Done():
			return false, fmt.Errorf("middleware: wait for the same message: %w", context.Cause(ctx))
		}
	}
}

// End implements [Seen]. A key that nobody has taken can be marked too.
func (s *MemSeen) End(_ context.Context, key string, handled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if through, ok := s.busy[key]; ok {
		delete(s.busy, key)
		close(through)
	}
	if !handled {
		return nil
	}
	now := time.Now()
	if e, ok := s.done[key]; ok {
		s.order.Remove(e)
	}
	s.done[key] = s.order.PushBack(&seenKey{key: key, at: now})
	s.forget(now)
	return nil
}

// Len returns how many handled keys are remembered.
func (s *MemSeen) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now())
	return len(s.done)
}

// forget drops what is too old or too much.
func (s *MemSeen) forget(now time.Time) {
	for e := s.order.Front(); e != nil; e = s.order.Front() {
		k, ok := e.Value.(*seenKey)
		if ok && len(s.done) <= s.max && (s.ttl <= 0 || now.Sub(k.at) < s.ttl) {
			return
		}
		s.order.Remove(e)
		if ok {
			delete(s.done, k.key)
		}
	}
}
