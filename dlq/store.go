package dlq

import (
	"context"
	"iter"
	"slices"
	"time"
)

// Burier takes letters.
//
// Bury returns nil only when the letter is safe: confirmed by the broker, or
// stored. An error means that it may or may not be there; whoever called keeps
// the original and buries it again, so a letter can be doubled and never lost.
// Bury ends with its context. It may be called from many goroutines, and keeps
// nothing of l after it returned.
type Burier interface {
	Bury(ctx context.Context, l Letter) (id string, err error)
}

// Store is a dead letter queue that can be looked at. All methods may be called
// from many goroutines. What cannot be done now is an [ErrUnavailable], never an
// empty answer.
type Store interface {
	Burier

	// List yields the letters that were there when the iteration began, each
	// once, oldest first or newest first, without consuming, hiding or reordering
	// any; two listings at once see the same. Letters buried meanwhile are left
	// out, so that every iteration ends; letters removed meanwhile may still
	// appear. An error ends it. The iteration can be repeated, and then begins
	// anew. An unknown Query.After is an ErrNotFound, if the store cannot tell
	// where that letter was.
	List(ctx context.Context, q Query) iter.Seq2[Letter, error]

	// Count returns exactly how many letters there are.
	Count(ctx context.Context) (int64, error)

	// Get returns one letter, or an error that wraps ErrNotFound.
	Get(ctx context.Context, id string) (Letter, error)

	// Delete removes letters and returns how many of them there were; unknown ids
	// are not an error. With an error some of them may be gone.
	Delete(ctx context.Context, ids ...string) (int, error)

	// Purge removes all letters that are there when it begins, and returns how many.
	Purge(ctx context.Context) (int, error)
}

// Remover is an optional method of a [Store] in which Delete is expensive
// because it counts: Remove removes one letter that the caller has just seen.
type Remover interface {
	// Remove removes the letter with this id.
	Remove(ctx context.Context, id string) error
}

// Query chooses letters. The zero Query means all of them, oldest first.
type Query struct {
	NewestFirst bool   // else oldest first
	Limit       int    // 0: no limit
	After       string // the id of the last letter of the page before; it may be gone by now
	Filter      Filter // the zero Filter lets all through
}

// Filter chooses letters by what they say; a letter must match every field that
// is set. The zero Filter matches all.
type Filter struct {
	// Every field that is empty lets all through.
	Handler   string // among those that failed
	EventType string // the wire name
	Group     string // the consumer group that failed
	Key       string // the ordering key
	Reason    Reason
	Since     time.Time // buried then or later
	Until     time.Time // buried before
}

// Match reports whether l is one of those that f chooses.
func (f *Filter) Match(l *Letter) bool {
	switch {
	case f.Handler != "" && !slices.Contains(l.Handlers, f.Handler),
		f.EventType != "" && l.EventType() != f.EventType,
		f.Group != "" && l.Group != f.Group,
		f.Key != "" && l.Key != f.Key,
		f.Reason != "" && l.Reason != f.Reason,
		!f.Since.IsZero() && l.BuriedAt.Before(f.Since),
		!f.Until.IsZero() && !l.BuriedAt.Before(f.Until):
		return false
	}
	return true
}
