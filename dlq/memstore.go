package dlq

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
)

// Defaults of [MemConfig]. Ten thousand letters are more than anybody reads one
// by one, and 64 MiB do not endanger a service. Smaller limits make a burst of
// failures wait for room earlier; larger ones only cost memory.
const (
	DefaultMemMax      = 10_000
	DefaultMemMaxBytes = 64 << 20
)

// MemConfig bounds a [MemStore].
type MemConfig struct {
	// Max is how many letters the store holds. 0 means DefaultMemMax.
	Max int
	// MaxBytes is how much memory they take together, roughly. 0 means
	// DefaultMemMaxBytes.
	MaxBytes int64
}

// MemStore is a [Store] in memory: bounded, lost with the process. A full store
// refuses with a [*FullError] and drops nothing; the event stays unacknowledged
// and is buried again until somebody makes room. Its methods never block and
// may be called from many goroutines.
type MemStore struct {
	max      int
	maxBytes int64

	mu      sync.RWMutex
	last    uint64             // number of the youngest letter ever
	order   []uint64           // ascending; removed ones are taken out
	letters map[uint64]*Letter // never modified once in here
	bytes   int64
}

var (
	_ Store   = (*MemStore)(nil)
	_ Remover = (*MemStore)(nil)
)

// NewMemStore returns an empty store. Negative limits count as 0.
func NewMemStore(c MemConfig) *MemStore {
	if c.Max <= 0 {
		c.Max = DefaultMemMax
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = DefaultMemMaxBytes
	}
	return &MemStore{max: c.Max, maxBytes: c.MaxBytes, letters: make(map[uint64]*Letter)}
}

// spareForReplays is how many letters over its bound a store takes when they
// come back from replays.
const spareForReplays = 8

// Bury keeps a copy of l under a new id, which it returns. A full store still
// takes a few letters that come back from a replay, whose own place becomes
// free next.
func (s *MemStore) Bury(ctx context.Context, l Letter) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("dlq: bury: %w", context.Cause(ctx))
	}
	c := l.Clone()
	size := int64(c.size())
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.max
	maxBytes := s.maxBytes
	if l.Replays > 0 {
		// It comes back from a replay whose letter is still here, and goes when
		// this one is safe: refused, the two would wait for each other.
		room, maxBytes = room+spareForReplays, maxBytes+size
	}
	if len(s.order) >= room || s.bytes+size > maxBytes {
		return "", &FullError{Letters: len(s.order), MaxCount: s.max, Bytes: s.bytes, MaxBytes: s.maxBytes}
	}
	s.last++
	c.ID = strconv.FormatUint(s.last, 10)
	s.letters[s.last] = &c
	s.order = append(s.order, s.last)
	s.bytes += size
	return c.ID, nil
}

// List implements [Store]. It copies the letters as they are asked for. A
// Query.After that was never given out is an [ErrNotFound].
func (s *MemStore) List(ctx context.Context, q Query) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		ids, err := s.ids(q)
		if err != nil {
			yield(Letter{}, err)
			return
		}
		left := q.Limit
		for _, id := range ids {
			if ctx.Err() != nil {
				yield(Letter{}, fmt.Errorf("dlq: list: %w", context.Cause(ctx)))
				return
			}
			s.mu.RLock()
			l, ok := s.letters[id]
			s.mu.RUnlock()
			if !ok || !q.Filter.Match(l) {
				continue
			}
			if !yield(l.Clone(), nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// ids returns what is there now and after q.After, in the order of q.
func (s *MemStore) ids(q Query) ([]uint64, error) {
	s.mu.RLock()
	ids, last := slices.Clone(s.order), s.last
	s.mu.RUnlock()
	if q.After != "" {
		n, ok := parseMemID(q.After)
		if !ok || n > last {
			return nil, fmt.Errorf("dlq: list after %q: %w", q.After, ErrNotFound)
		}
		i, found := slices.BinarySearch(ids, n)
		switch {
		case q.NewestFirst:
			ids = ids[:i]
		case found:
			ids = ids[i+1:]
		default:
			ids = ids[i:]
		}
	}
	if q.NewestFirst {
		slices.Reverse(ids)
	}
	return ids, nil
}

// Count implements [Store].
func (s *MemStore) Count(context.Context) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(len(s.order)), nil
}

// Get implements [Store].
func (s *MemStore) Get(_ context.Context, id string) (Letter, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n, ok := parseMemID(id); ok {
		if l, ok := s.letters[n]; ok {
			return l.Clone(), nil
		}
	}
	return Letter{}, fmt.Errorf("dlq: get %q: %w", id, ErrNotFound)
}

// Delete implements [Store].
func (s *MemStore) Delete(_ context.Context, ids ...string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	removed := 0
	for _, id := range ids {
		n, ok := parseMemID(id)
		if !ok {
			continue
		}
		l, ok := s.letters[n]
		if !ok {
			continue
		}
		delete(s.letters, n)
		s.bytes -= int64(l.size())
		if i, found := slices.BinarySearch(s.order, n); found {
			s.order = slices.Delete(s.order, i, i+1)
		}
		removed++
	}
	return removed, nil
}

// Remove implements [Remover]. A letter that is not there is an [ErrNotFound].
func (s *MemStore) Remove(ctx context.Context, id string) error {
	if n, _ := s.Delete(ctx, id); n == 0 {
		return fmt.Errorf("dlq: remove %q: %w", id, ErrNotFound)
	}
	return nil
}

// Purge implements [Store].
func (s *MemStore) Purge(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.order)
	clear(s.letters)
	s.order, s.bytes = nil, 0
	return n, nil
}

func parseMemID(id string) (uint64, bool) {
	n, err := strconv.ParseUint(id, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatUint(n, 10) == id
}
