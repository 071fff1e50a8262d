package middleware

import (
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/ctxkey"
	"github.com/leat-go/leat/internal/wire"
)

// Recover turns a panic of the handler into a [*PanicError] and writes its stack
// to the log, which is where stacks belong; the error's text, which ends up in
// letters, has none. Put it inside [Retry] so that a panic counts as a failed
// attempt. An error that cannot be used because its own methods panic (a nil
// pointer to an error type, mostly) is a panic of the handler, too: outside,
// nobody could log or bury it. It costs nothing when nothing fails.
//
// A handler that ends its goroutine (runtime.Goexit, which a test's FailNow
// calls) takes the whole chain with it, and nothing can stop that. The first
// time, Recover can only nack the message, so that it is delivered again; from
// then on it runs this handler on a goroutine of its own for each message, and
// such an end is a [*GoexitError]. A bus of leat has no need of the nack: it
// takes the first time for a failed attempt as well.
type Recover struct {
	// Logger gets the stack. Nil discards; the stack is in the error in any case.
	Logger *slog.Logger
}

// Validate reports nothing: every Recover is valid.
func (r Recover) Validate() error { return nil }

// Middleware is the [message.HandlerMiddleware].
func (r Recover) Middleware(h message.HandlerFunc) message.HandlerFunc {
	c := &recovering{next: h, log: orDiscard(r.Logger)}
	return func(msg *message.Message) ([]*message.Message, error) {
		if c.exits.Load() {
			return c.apart(msg)
		}
		return c.call(msg, nil)
	}
}

// recovering is one handler's Recover.
type recovering struct {
	next  message.HandlerFunc
	log   *slog.Logger
	exits atomic.Bool // the handler has ended a goroutine
}

// call calls the handler. When it ends the goroutine nothing is returned; that
// goes to exited, where there is one.
func (c *recovering) call(msg *message.Message, exited *error) (produced []*message.Message, err error) {
	returned := false
	defer func() {
		if value := recover(); value != nil {
			failure := &PanicError{Value: value, Stack: debug.Stack()}
			c.tell(msg, "handler panicked", failure, failure.Stack)
			produced, err = nil, failure
		} else if !returned {
			failure := &GoexitError{Stack: debug.Stack()}
			if exited != nil {
				*exited = failure
			} else if msg.Context().Value(ctxkey.Exits{}) == nil {
				msg.Nack() // nobody outside will settle it
			}
			if first := c.exits.CompareAndSwap(false, true); first || exited != nil {
				c.tell(msg, "handler ended its goroutine", failure, failure.Stack)
			}
		}
	}()
	if produced, err = c.next(msg); err != nil {
		_, _ = classify(err), err.Error() // whoever is outside asks both
	}
	returned = true
	return produced, err
}

// apart calls the handler on a goroutine that it may end.
func (c *recovering) apart(msg *message.Message) (produced []*message.Message, err error) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		produced, err = c.call(msg, &err)
	}()
	<-over
	return produced, err
}

func (c *recovering) tell(msg *message.Message, what string, err error, stack []byte) {
	ctx := msg.Context()
	c.log.ErrorContext(ctx, what, "topic", topicOf(ctx), "handler", HandlerName(ctx), "event_id", msg.UUID,
		"event_type", msg.Metadata[wire.EventType], "attempt", Attempt(ctx), "error", err, "stack", string(stack))
}
