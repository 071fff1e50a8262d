package dlq

import (
	"errors"
	"fmt"
)

// ErrNotFound is returned for an id that no letter in the store has.
var ErrNotFound = errors.New("dlq: letter not found")

// ErrUnavailable is returned by whatever cannot be done with this store now:
// the broker is away, dead letters are disabled, or the store can only bury. An
// empty listing is never used to say that.
var ErrUnavailable = errors.New("dlq: unavailable")

// ErrReplaying is returned for a letter that another call is replaying.
var ErrReplaying = errors.New("dlq: letter is being replayed")

// FullError reports that a bounded store takes no more letters. Nothing of what
// it holds was dropped; the letter that did not fit is still its owner's.
type FullError struct {
	Letters  int   // in the store now
	MaxCount int   // as it is configured
	Bytes    int64 // that they hold, roughly
	MaxBytes int64 // as it is configured
}

// Error tells the store's contents and its bounds.
func (e *FullError) Error() string {
	return fmt.Sprintf("dlq: bury: store is full: %d of %d letters, %d of %d bytes", e.Letters, e.MaxCount, e.Bytes, e.MaxBytes)
}

// ReplayLimitError reports a letter that has been replayed too often to be
// replayed again without [Force].
type ReplayLimitError struct {
	ID      string // of the letter
	Replays int    // so far
	Max     int    // as it is configured
}

// Error tells the letter and both numbers.
func (e *ReplayLimitError) Error() string {
	return fmt.Sprintf("dlq: replay %q: replayed %d times already, at most %d; fix the cause, then force it", e.ID, e.Replays, e.Max)
}

// ReplayError reports a replay that did not run to its end. Published false:
// the message did not go out, or nobody knows whether it did; the letter is
// still there. Published true: it went out and the letter could not be removed,
// so that another replay would double it; delete the letter instead.
type ReplayError struct {
	ID        string // of the letter
	Topic     string // that it was to go to
	Published bool   // the message went out
	Err       error  // of the publisher, or of the removal
}

// Error tells the letter, the topic and the cause.
func (e *ReplayError) Error() string {
	act := "publish"
	if e.Published {
		act = "published, but remove letter"
	}
	return fmt.Sprintf("dlq: replay %q to %q: %s: %v", e.ID, e.Topic, act, e.Err)
}

// Unwrap returns the cause.
func (e *ReplayError) Unwrap() error { return e.Err }
