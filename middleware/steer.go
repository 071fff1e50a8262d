package middleware

import (
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Permanent marks an error as one that trying again cannot mend: the message is
// buried at once. Permanent(nil) is nil. The text is that of err.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &steeredError{err: err, verdict: final}
}

// Discard marks a message as not worth keeping: it is acknowledged, counted and
// logged, and becomes no letter. Discard(nil) is nil: that is a success.
func Discard(err error) error {
	if err == nil {
		return nil
	}
	return &steeredError{err: err, verdict: discarded}
}

// RetryAfter asks for the next attempt after d instead of the usual wait. The
// attempt counts. A negative d means at once. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err: err, delay: max(d, 0)}
}

// IsDiscard reports whether err asks to forget the message.
func IsDiscard(err error) bool { return classify(err) == discarded }

// IsFinal reports whether nothing is left to try: the handler said [Permanent]
// or [Discard], its attempts are used up, or the message cannot be decoded. An
// error that [ErrHandedBack] marks is not final.
func IsFinal(err error) bool {
	switch classify(err) {
	case final, discarded, undecodable:
		return true
	case again, handedBack:
	}
	return false
}

// RetryDelay returns the wait that err asks for with [RetryAfter].
func RetryDelay(err error) (time.Duration, bool) {
	var ours *retryAfterError
	if errors.As(err, &ours) {
		return ours.delay, true
	}
	var theirs *backoff.RetryAfterError
	if errors.As(err, &theirs) {
		return max(theirs.Duration, 0), true
	}
	return 0, false
}

type steeredError struct {
	err     error
	verdict verdict
}

func (e *steeredError) Error() string { return e.err.Error() }
func (e *steeredError) Unwrap() error { return e.err }

type retryAfterError struct {
	err   error
	delay time.Duration
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// verdict is what an error means for its message.
type verdict int

const (
	again       verdict = iota // a failure like any other
	final                      // no further attempt, a letter
	discarded                  // no further attempt, no letter
	undecodable                // the message itself: no attempt at all, a letter
	handedBack                 // not finished, nobody's fault
)

// classify decides what an error means; it is the only place that does. The
// outermost mark wins, so whoever wraps an error has the last word.
func classify(err error) verdict {
	for err != nil {
		if err == ErrHandedBack { //nolint:errorlint // the chain is walked here, level by level
			return handedBack
		}
		switch e := err.(type) { //nolint:errorlint // the chain is walked here, level by level
		case *HandlersError: // several handlers: each has its own verdict
			return e.verdict()
		case *steeredError: // the handler's own word
			return e.verdict
		case *backoff.PermanentError: // the same word in Watermill's language
			return final
		case *ExhaustedError: // an inner Retry has done what could be done
			return final
		case interface{ Undecodable() bool }: // the same bytes will not decode next time
			if e.Undecodable() {
				return undecodable
			}
		}
		switch e := err.(type) { //nolint:errorlint // the chain is walked here, level by level
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }: // joined errors: the first mark among them
			for _, inner := range e.Unwrap() {
				if v := classify(inner); v != again {
					return v
				}
			}
			return again
		default:
			return again
		}
	}
	return again
}
