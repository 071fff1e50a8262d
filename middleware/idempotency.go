package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// Seen remembers what has been handled. Its methods may be called from many
// goroutines and end with their context.
type Seen interface {
	// Begin takes the key for its caller. done means that it has been handled
	// before, and nothing was taken. While somebody else has it, Begin waits until
	// that one is through: an End makes it done, a failure hands it on. An error
	// means that nobody knows; nothing was taken.
	Begin(ctx context.Context, key string) (done bool, err error)

	// End gives the key back. handled marks it as done for good, as long as the
	// store remembers. An error with handled set means that the mark may be missing.
	End(ctx context.Context, key string, handled bool) error
}

// DefaultMarkTimeout is how long [Idempotency] waits for its mark.
const DefaultMarkTimeout = 5 * time.Second

// Idempotency skips messages that have been handled before: the second delivery
// after a crash between the handler's success and the acknowledgement, or a
// publisher's retry. It marks a message *after* the handler succeeded, so a
// failed message is handled again. Nothing can close the gap between the
// handler's success and the mark but a handler that does both in one
// transaction; a crash there repeats the message.
//
// Two deliveries of one message at the same time: the second waits for the
// first. If that one succeeds, the second is skipped; if it fails, the second is
// handled.
//
// A skipped message counts as success and produces no messages. Put it outside
// [Retry], or the wait of a retry is spent inside the claim, which is harmless
// but longer.
type Idempotency struct {
	// Store remembers. It is required and stays the caller's; see [NewMemSeen].
	Store Seen

	// Key names a message for the store; empty means that it is handled without a
	// check. Nil: consumer group, handler name, UUID and, for a letter that was
	// replayed, how often; so two handlers of one message do not take each other
	// for a repetition, and nobody takes a replay for one.
	Key func(msg *message.Message) string

	// OnSkipped is called for each message that is skipped. It must not block. A
	// panic in it is logged.
	OnSkipped func(msg *message.Message)

	// Logger gets a line for each skipped message (Debug) and each mark that could
	// not be set (Error). Nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once.
func (i Idempotency) Validate() error {
	if i.Store == nil {
		return errors.New("middleware: Idempotency.Store: must not be nil")
	}
	return nil
}

// Middleware is the [message.HandlerMiddleware]. Without a Store it does
// nothing. When the store cannot say whether a message was handled, the message
// fails with that error, and [Retry] outside may try again.
func (i Idempotency) Middleware(h message.HandlerFunc) message.HandlerFunc {
	if i.Store == nil {
		return h
	}
	if i.Key == nil {
		i.Key = messageKey
	}
	i.Logger = orDiscard(i.Logger)
	return func(msg *message.Message) ([]*message.Message, error) {
		key := i.Key(msg)
		if key == "" {
			return h(msg)
		}
		ctx := msg.Context()
		done, err := i.Store.Begin(ctx, key)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, handBack(ctx, err)
		case err != nil:
			return nil, fmt.Errorf("middleware: look up whether message was handled: %w", err)
		case done:
			i.skip(ctx, msg)
			return nil, nil
		}
		return i.handle(ctx, h, msg, key)
	}
}

func (i *Idempotency) handle(ctx context.Context, h message.HandlerFunc, msg *message.Message, key string) (produced []*message.Message, err error) {
	handled := false
	// Deferred, because a panic must give the key back as well.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultMarkTimeout)
		defer cancel()
		// The work is done: failing the message for want of a mark would repeat it
		// for certain, where now it is repeated only if it is delivered again.
		if err := i.Store.End(ctx, key, handled); err != nil {
			i.Logger.ErrorContext(ctx, "mark of handled message failed", "topic", topicOf(ctx), "handler", HandlerName(ctx),
				"event_id", msg.UUID, "event_type", msg.Metadata[wire.EventType], "handled", handled, "error", err)
		}
	}()
	produced, err = h(msg)
	handled = err == nil
	return produced, err
}

func (i *Idempotency) skip(ctx context.Context, msg *message.Message) {
	i.Logger.DebugContext(ctx, "message was handled before, skipped", "topic", topicOf(ctx), "handler", HandlerName(ctx),
		"event_id", msg.UUID, "event_type", msg.Metadata[wire.EventType])
	if i.OnSkipped != nil {
		callHook(ctx, i.Logger, "OnSkipped", func() { i.OnSkipped(msg) })
	}
}

// messageKey is the default key. NUL cannot stand in a name, so no two messages
// make one key.
func messageKey(msg *message.Message) string {
	if msg.UUID == "" {
		return ""
	}
	ctx := msg.Context()
	key := groupOf(ctx) + "\x00" + HandlerName(ctx) + "\x00" + msg.UUID
	// Outside DeadLetter, a burial looks like success: without the count, the
	// replay would be skipped, and the message lost.
	if replays := msg.Metadata[wire.ReplayCount]; replays != "" {
		key += "\x00" + replays
	}
	return key
}
