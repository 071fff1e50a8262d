// Package middleware holds what happens around a message handler: one behaviour
// a file, each a plain Watermill [message.HandlerMiddleware]. They work on a
// stock Watermill router without anything else of leat, and the buses are built
// from them.
//
// Configuration is a struct whose zero value works, or which Validate refuses
// with everything that is wrong; its Middleware method is what a router takes:
//
//	r.AddMiddleware(
//		middleware.DeadLetter{Burier: letters, Group: "billing"}.Middleware,
//		middleware.Retry{}.Middleware,
//		middleware.Recover{}.Middleware,
//	)
//
// # Order
//
// The first one added is the outermost. The order that makes sense:
//
//	Stats, Logging       see every message once, with its final outcome
//	  DeadLetter         buries what is given up; turns it into a success
//	    Idempotency      skips what has succeeded before
//	      Retry          runs the rest again and again, in place
//	        Timeout      limits one attempt
//	          Recover    makes an error of a panic, so that the rest can see it
//	            handler
//
// [Describe] prints a chain.
//
// # Steering
//
// A handler decides by what it returns: nil is success; [Permanent] is not tried
// again; [RetryAfter] is tried again after that time; [Discard] is acknowledged
// and forgotten; any other error is tried again until the attempts are used up.
// The markers of github.com/cenkalti/backoff/v5, which Watermill's own Retry
// knows, mean the same.
//
// # Shutdown
//
// A message whose context ends while it is handled is not finished and not
// failed: it leaves the chain with an error that wraps [ErrHandedBack], becomes
// no letter, and is delivered again later. What had been decided before, by
// Permanent or by the last attempt, is buried even then.
//
// # What blocks, what is lost, what is owned
//
// Retry blocks for its waits, DeadLetter until the letter is safe, Idempotency
// while somebody else handles the same message; each of them ends with the
// message's context. Nothing is lost but what Discard says and what a DeadLetter
// with Disabled drops. A message that was handed back comes again, to all its
// handlers. Stores and buriers stay the caller's; nothing here is closed, and
// only Timeout starts something: a timer, for a handler that outlives its time.
package middleware
