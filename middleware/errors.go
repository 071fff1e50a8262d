package middleware

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrHandedBack is wrapped by the error of a message that is not finished
// because its context ended: the drain deadline of a shutdown, or a stock router
// that is closing. It is not a failure: no letter, and the message comes again.
var ErrHandedBack = errors.New("middleware: message handed back")

// handBack is the error of a message whose context is done; why, if not nil, is
// what its handler said last.
func handBack(ctx context.Context, why error) error {
	if why != nil {
		return fmt.Errorf("%w: %w: %w", ErrHandedBack, context.Cause(ctx), why)
	}
	return fmt.Errorf("%w: %w", ErrHandedBack, context.Cause(ctx))
}

// ExhaustedError reports that every allowed attempt failed. Err is the last
// failure; the earlier ones were logged when they happened.
type ExhaustedError struct {
	Attempts int       // all of them, the first included
	Err      error     // of the last one
	FirstAt  time.Time // of the first failure
	LastAt   time.Time // of the last one
}

// Error tells the number of attempts and the last failure.
func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("middleware: gave up after %d attempts: %v", e.Attempts, e.Err)
}

// Unwrap returns the last failure.
func (e *ExhaustedError) Unwrap() error { return e.Err }

// triedError remembers how often a handler ran before it ended otherwise than
// by using up its attempts. It adds nothing to the text.
type triedError struct {
	attempts        int
	err             error
	firstAt, lastAt time.Time
}

func (e *triedError) Error() string { return e.err.Error() }
func (e *triedError) Unwrap() error { return e.err }

// PanicError reports a handler that panicked. The stack is a field and not in
// the text, because texts travel in letters and responses.
type PanicError struct {
	Value any    // what the handler panicked with
	Stack []byte // of the goroutine, at that moment
}

// Error tells the value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("middleware: handler panicked: %v", e.Value) }

// Unwrap returns the panic's value when that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// GoexitError reports a handler that ended its goroutine instead of returning:
// with runtime.Goexit, mostly by FailNow, Fatal or Skip of a test, or by what is
// built on them.
type GoexitError struct {
	Stack []byte // of the goroutine, at that moment
}

// Error tells what happened, without the stack.
func (e *GoexitError) Error() string {
	return "middleware: handler ended its goroutine (runtime.Goexit, or a test's FailNow)"
}

// TimeoutError reports a handler that failed because its time was up. It is also
// the cause of the context that [Timeout] gave the handler. errors.Is finds
// [context.DeadlineExceeded] in it.
type TimeoutError struct {
	Handler string        // its name
	After   time.Duration // the time it had
	Err     error         // what the handler returned; nil when only that its context was done
}

// Error tells the handler, its time, and what it said.
func (e *TimeoutError) Error() string {
	text := fmt.Sprintf("middleware: handler %q: timed out after %v", e.Handler, e.After)
	if e.Err != nil && !errors.Is(e.Err, context.DeadlineExceeded) {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the handler's own error.
func (e *TimeoutError) Unwrap() error { return e.Err }

// Is makes a TimeoutError a [context.DeadlineExceeded].
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Timeout is true, as net.Error has it.
func (e *TimeoutError) Timeout() bool { return true }

// HandlerFailure is one handler that failed at a message, for good.
type HandlerFailure struct {
	Handler  string    // its name
	Err      error     // of the last attempt
	Attempts int       // all of them, the first included
	FirstAt  time.Time // of the first failure
	LastAt   time.Time // of the last one
}

// NewHandlerFailure makes a failure of what a handler's chain returned: attempts
// and times are those that [Retry] left in the error, else one attempt now.
func NewHandlerFailure(handler string, err error) HandlerFailure {
	f := HandlerFailure{Handler: handler, Err: err, Attempts: 1}
	var exhausted *ExhaustedError
	var tried *triedError
	switch {
	case errors.As(err, &exhausted):
		f.Attempts, f.FirstAt, f.LastAt = exhausted.Attempts, exhausted.FirstAt, exhausted.LastAt
	case errors.As(err, &tried):
		f.Attempts, f.FirstAt, f.LastAt = tried.attempts, tried.firstAt, tried.lastAt
	}
	if f.LastAt.IsZero() {
		f.LastAt = time.Now()
	}
	if f.FirstAt.IsZero() {
		f.FirstAt = f.LastAt
	}
	return f
}

// HandlersError reports which handlers of one message failed, while the others
// were left to succeed. [DeadLetter] puts their names into the letter.
type HandlersError struct {
	Failures []HandlerFailure // one for each handler that failed
}

// Error names each handler with its error.
func (e *HandlersError) Error() string {
	parts := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		parts[i] = fmt.Sprintf("handler %q: %v", f.Handler, f.Err)
	}
	return strings.Join(parts, "; ")
}

// Unwrap returns the errors of all failures.
func (e *HandlersError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// verdict of several handlers: one that was interrupted brings the whole
// message back; one that may be tried again keeps it open; discards count only
// when nothing else is left.
func (e *HandlersError) verdict() verdict {
	seen := map[verdict]bool{}
	for _, f := range e.Failures {
		seen[classify(f.Err)] = true
	}
	for _, v := range []verdict{handedBack, again, undecodable, final, discarded} {
		if seen[v] {
			return v
		}
	}
	return again
}
