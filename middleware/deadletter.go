package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/wire"
)

// Defaults of [DeadLetter]. Ten seconds are what a broker needs to confirm while
// it elects a new leader; shorter, and a letter that did arrive is buried twice.
const (
	DefaultBuryTimeout = 10 * time.Second
	buryBaseDelay      = 100 * time.Millisecond
	buryMaxDelay       = 30 * time.Second
)

// DeadLetter buries messages that cannot be handled, and then lets them count as
// handled, so that they are acknowledged and the next one comes. Put it outside
// [Retry] and [Timeout].
//
// What is buried: whatever error comes out of the chain, except
//   - [Discard]: forgotten, without a letter;
//   - [ErrHandedBack], and any error that is not final while the message's
//     context is done: that is a shutdown and not a failure. The error is
//     returned and the message comes again.
//
// The burial does not depend on the message's context: it works at shutdown and
// after a time-out. It succeeds only when the Burier says so; until then it is
// tried again, with growing waits of at most 30 seconds, and the message stays
// unacknowledged. When the message's context ends during that, the message is
// handed back. So the middleware blocks for as long as the dead letter queue is
// broken; that, and not losing the message, is the way to say so.
//
// A delivery that its transport could not make a message of ([Delivery]'s
// Malformed) is buried as it came; no handler sees it.
//
// A copy is buried, with the metadata of the message as it is then: handlers
// must not modify the message.
type DeadLetter struct {
	// Burier takes the letters. It is required, unless Disabled, and stays the
	// caller's. It must end with its context.
	Burier dlq.Burier

	// Group is the consumer group that the letters name, and that a replay goes
	// to. Empty: the group of the [Delivery], if there is one.
	Group string

	// Topic is what the letters name as their origin. Empty: the topic of the
	// [Delivery], else the one that the Watermill router subscribed to.
	Topic string

	// BuryTimeout limits one attempt at burying. 0 means DefaultBuryTimeout.
	BuryTimeout time.Duration

	// Host and Build name the machine and the revision in the letters. Empty: the
	// host name, and the revision that the Go tool wrote into the binary.
	Host  string
	Build string

	// Disabled buries nothing: what would have become a letter is logged at error
	// level, told to OnDropped and acknowledged. The message is lost.
	Disabled bool

	// Hooks. They must not block. A panic in one is logged. The letter is theirs
	// to read until they return.
	OnBuried    func(ctx context.Context, l dlq.Letter)                         // after the confirmation; l.ID is set
	OnBuryError func(ctx context.Context, l dlq.Letter, attempt int, err error) // after each attempt that failed
	OnDiscarded func(ctx context.Context, msg *message.Message, err error)      // a handler said Discard
	OnDropped   func(ctx context.Context, l dlq.Letter)                         // lost, because Disabled

	// Logger gets a line for each of the above. Nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once.
func (d DeadLetter) Validate() error {
	var errs []error
	if d.Burier == nil && !d.Disabled {
		errs = append(errs, errors.New("middleware: DeadLetter.Burier: must not be nil, unless Disabled"))
	}
	if d.BuryTimeout < 0 {
		errs = append(errs, fmt.Errorf("middleware: DeadLetter.BuryTimeout: must be at least 0, is %v", d.BuryTimeout))
	}
	return errors.Join(errs...)
}

// Middleware is the [message.HandlerMiddleware]. Without a Burier, and not
// Disabled, it returns every error as it is. Other invalid fields count as 0.
func (d DeadLetter) Middleware(h message.HandlerFunc) message.HandlerFunc {
	if d.BuryTimeout <= 0 {
		d.BuryTimeout = DefaultBuryTimeout
	}
	if d.Host == "" {
		d.Host = hostname()
	}
	if d.Build == "" {
		d.Build = revision()
	}
	d.Logger = orDiscard(d.Logger)
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx := msg.Context()
		if delivery := DeliveryFrom(ctx); delivery != nil && delivery.Malformed != nil {
			return nil, d.failed(ctx, msg, &undecodableError{delivery.Malformed})
		}
		produced, err := h(msg)
		if err == nil {
			return produced, nil
		}
		msg.SetContext(ctx)
		return nil, d.failed(ctx, msg, err)
	}
}

// undecodableError marks what a transport could not read, whatever error it
// gave for that.
type undecodableError struct{ err error }

func (e *undecodableError) Error() string   { return e.err.Error() }
func (e *undecodableError) Unwrap() error   { return e.err }
func (*undecodableError) Undecodable() bool { return true }

func (d *DeadLetter) failed(ctx context.Context, msg *message.Message, err error) error {
	switch classify(err) {
	case discarded:
		d.discard(ctx, msg, err)
		return nil
	case handedBack:
		return err
	case again:
		if ctx.Err() != nil {
			return handBack(ctx, err)
		}
	case final, undecodable: // decided before the context ended, if it did
	}
	l := d.letter(ctx, msg, err)
	switch {
	case d.Disabled:
		d.drop(ctx, l)
		return nil
	case d.Burier == nil:
		return err
	}
	return d.bury(ctx, l, err)
}

// bury tries until the letter is safe or the message's context ends, but at
// least once.
func (d *DeadLetter) bury(ctx context.Context, l dlq.Letter, cause error) error {
	waits := backoffPlan{base: buryBaseDelay, limit: buryMaxDelay, multiplier: 2, jitter: DefaultJitter}
	for attempt := 1; ; attempt++ {
		id, err := d.buryOnce(ctx, l)
		if err == nil {
			l.ID = id
			d.log(ctx, slog.LevelWarn, "message buried in dead letter queue", &l, "letter", id)
			if d.OnBuried != nil {
				callHook(ctx, d.Logger, "OnBuried", func() { d.OnBuried(ctx, l) })
			}
			return nil
		}
		d.log(ctx, slog.LevelError, "burial failed, message stays unacknowledged", &l, "attempt", attempt, "bury_error", err)
		if d.OnBuryError != nil {
			callHook(ctx, d.Logger, "OnBuryError", func() { d.OnBuryError(ctx, l, attempt, err) })
		}
		if !pause(ctx, waits.delay(attempt, rand.Float64())) {
			return handBack(ctx, errors.Join(cause, err))
		}
	}
}

func (d *DeadLetter) buryOnce(ctx context.Context, l dlq.Letter) (id string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.BuryTimeout)
	defer cancel()
	// A panic must not get past the loop: outside, it would be a nack, and the
	// message would come again at once.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("middleware: bury: panic: %v", p)
		}
	}()
	return d.Burier.Bury(ctx, l)
}

func (d *DeadLetter) discard(ctx context.Context, msg *message.Message, err error) {
	d.Logger.InfoContext(ctx, "message discarded by its handler", "topic", topicOf(ctx), "handler", HandlerName(ctx),
		"event_id", msg.UUID, "event_type", msg.Metadata[wire.EventType], "error", err)
	if d.OnDiscarded != nil {
		callHook(ctx, d.Logger, "OnDiscarded", func() { d.OnDiscarded(ctx, msg, err) })
	}
}

func (d *DeadLetter) drop(ctx context.Context, l dlq.Letter) {
	d.log(ctx, slog.LevelError, "message lost: dead letters are disabled", &l)
	if d.OnDropped != nil {
		callHook(ctx, d.Logger, "OnDropped", func() { d.OnDropped(ctx, l) })
	}
}

func (d *DeadLetter) log(ctx context.Context, level slog.Level, text string, l *dlq.Letter, more ...any) {
	if !d.Logger.Enabled(ctx, level) {
		return
	}
	d.Logger.Log(ctx, level, text, append([]any{
		"topic", l.Source.Topic, "group", l.Group, "handler", l.Handlers, "event_id", l.MessageID,
		"event_type", l.EventType(), "reason", string(l.Reason), "attempts", l.Attempts, "error", l.ErrorMessage,
	}, more...)...)
}
