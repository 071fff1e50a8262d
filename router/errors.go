package router

import "errors"

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
)
