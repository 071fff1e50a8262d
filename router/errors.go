package router

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned by everything that wants to start work on a router
	// or a drained subscriber that was shut down.
	ErrClosed = errors.New("router: closed")

	// ErrRunning is returned by Run when the router was run before, and by what
	// must happen before Run: on Watermill it would be a data race.
	ErrRunning = errors.New("router: already running")

	// ErrCloseTimeout is returned by Run and Shutdown when handlers were still
	// running at the deadline. Their messages were handed back.
	ErrCloseTimeout = errors.New("router: shutdown: handlers still running at the deadline")

	// ErrDrainDeadline is the cause with which a message's context ends when
	// its handler is still running at the deadline of a drain, and what
	// [Drainer.Drain] returns then. Read it with context.Cause.
	ErrDrainDeadline = errors.New("router: drain deadline passed")

	// ErrDuplicateHandler is what a [HandlerError] wraps when a handler of that
	// name exists. A name is free again when its handler has stopped.
	ErrDuplicateHandler = errors.New("a handler with this name exists")
)

// HandlerError tells which handler could not be added or started, and why.
type HandlerError struct {
	Handler string // its name, as it was given
	Err     error  // several problems are joined
}

// Error names the handler and all its problems.
func (e *HandlerError) Error() string {
	return fmt.Sprintf("router: add handler %q: %v", e.Handler, e.Err)
}

// Unwrap returns the problems.
func (e *HandlerError) Unwrap() error { return e.Err }
