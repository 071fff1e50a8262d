package middleware

import (
	"log/slog"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// Recover turns a panic of the handler into a [*PanicError] and writes its stack
// to the log, which is where stacks belong; the error's text, which ends up in
// letters, has none. Put it inside [Retry] so that a panic counts as a failed
// attempt. An error that cannot be used because its own methods panic (a nil
// pointer to an error type, mostly) is a panic of the handler, too: outside,
// nobody could log or bury it. It costs nothing when nothing fails.
type Recover struct {
	// Logger gets the stack. Nil discards; the stack is in the error in any case.
	Logger *slog.Logger
}

// Validate reports nothing: every Recover is valid.
func (r Recover) Validate() error { return nil }

// Middleware is the [message.HandlerMiddleware].
func (r Recover) Middleware(h message.HandlerFunc) message.HandlerFunc {
	log := orDiscard(r.Logger)
	return func(msg *message.Message) (produced []*message.Message, err error) {
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			failure := &PanicError{Value: value, Stack: debug.Stack()}
			ctx := msg.Context()
			log.ErrorContext(ctx, "handler panicked",
				"topic", topicOf(ctx), "handler", HandlerName(ctx), "event_id", msg.UUID,
				"event_type", msg.Metadata[wire.EventType], "attempt", Attempt(ctx),
				"error", failure, "stack", string(failure.Stack))
			produced, err = nil, failure
		}()
		if produced, err = h(msg); err != nil {
			_, _ = classify(err), err.Error() // whoever is outside asks both
		}
		return produced, err
	}
}
