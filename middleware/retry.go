package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// Defaults of [Retry], those of the reference. Three retries with 1, 2 and 4
// seconds between them outlast a restart of whatever the handler calls; more
// hold up the events behind the message for longer.
const (
	DefaultMaxRetries = 3
	DefaultBaseDelay  = time.Second
	DefaultMaxDelay   = time.Minute
	DefaultMultiplier = 2.0
	DefaultJitter     = 0.1
)

// Values that switch something off where 0 means the default.
const (
	NoRetries = -1 // Retry.MaxRetries: one attempt only
	NoJitter  = -1 // Retry.Jitter: exact waits
)

// Retry runs a failing handler again, in place: nothing is published, other
// consumers see nothing of it, and the messages behind this one keep their order.
//
// The waits are BaseDelay, BaseDelay*Multiplier and so on up to MaxDelay, each
// moved at random by at most the fraction Jitter in either direction, or what
// [RetryAfter] says. After MaxRetries further attempts the message leaves with
// an [*ExhaustedError]. Errors that are final ([Permanent], [Discard],
// undecodable) leave at once. When the message's context ends, before an attempt
// or during a wait, it leaves with an error that wraps [ErrHandedBack].
//
// The state of a message is its own: one Retry serves any number of messages at
// once. A success at the first attempt costs nothing but the call. Each attempt
// gets the context that the message had before the first; see [Attempt].
type Retry struct {
	// MaxRetries is how many attempts may follow the first one. 0 means
	// DefaultMaxRetries; NoRetries means none.
	MaxRetries int

	// BaseDelay is the first wait. 0 means DefaultBaseDelay.
	BaseDelay time.Duration

	// MaxDelay caps the wait, before jitter. 0 means DefaultMaxDelay, or BaseDelay
	// if that is longer.
	MaxDelay time.Duration

	// Multiplier is by how much each wait is longer than the one before; at least
	// 1. 0 means DefaultMultiplier.
	Multiplier float64

	// Jitter is the fraction of a wait by which it may differ, up to 1. 0 means
	// DefaultJitter; NoJitter switches it off.
	Jitter float64

	// OnRetry is called before each wait. It must not block. A panic in it is logged.
	OnRetry func(msg *message.Message, info RetryInfo)

	// Logger gets a warning for each attempt that failed and is tried again. Nil
	// discards.
	Logger *slog.Logger
}

// RetryInfo tells [Retry.OnRetry] what is about to happen.
type RetryInfo struct {
	Attempt int           // the attempt that failed, from 1
	Delay   time.Duration // until the next one
	Err     error         // of that attempt
}

// Validate reports every problem of the configuration at once.
func (r Retry) Validate() error {
	var errs []error
	bad := func(field, want string, got any) {
		errs = append(errs, fmt.Errorf("middleware: Retry.%s: must be %s, is %v", field, want, got))
	}
	if r.MaxRetries < NoRetries {
		bad("MaxRetries", "at least -1 (NoRetries)", r.MaxRetries)
	}
	if r.BaseDelay < 0 {
		bad("BaseDelay", "at least 0", r.BaseDelay)
	}
	if r.MaxDelay < 0 || (r.MaxDelay > 0 && r.BaseDelay > r.MaxDelay) {
		bad("MaxDelay", fmt.Sprintf("at least BaseDelay (%v)", r.BaseDelay), r.MaxDelay)
	}
	if r.Multiplier != 0 && !(r.Multiplier >= 1 && r.Multiplier <= 1e6) {
		bad("Multiplier", "from 1 to 1000000", r.Multiplier)
	}
	if r.Jitter != NoJitter && !(r.Jitter >= 0 && r.Jitter <= 1) {
		bad("Jitter", "from 0 to 1, or -1 (NoJitter)", r.Jitter)
	}
	return errors.Join(errs...)
}

// plan fills in the defaults; what Validate refuses counts as 0.
func (r Retry) plan() (maxRetries int, waits backoffPlan) {
	waits = backoffPlan{base: r.BaseDelay, limit: r.MaxDelay, multiplier: r.Multiplier, jitter: r.Jitter}
	switch {
	case r.MaxRetries == NoRetries:
	case r.MaxRetries <= 0:
		maxRetries = DefaultMaxRetries
	default:
		maxRetries = r.MaxRetries
	}
	if waits.base <= 0 {
		waits.base = DefaultBaseDelay
	}
	if waits.limit <= 0 {
		waits.limit = max(DefaultMaxDelay, waits.base)
	}
	if !(waits.multiplier >= 1) {
		waits.multiplier = DefaultMultiplier
	}
	switch {
	case waits.jitter == NoJitter:
		waits.jitter = 0
	case !(waits.jitter > 0 && waits.jitter <= 1):
		waits.jitter = DefaultJitter
	}
	return maxRetries, waits
}

// Middleware is the [message.HandlerMiddleware]. Invalid fields count as 0; call
// Validate to be told about them.
func (r Retry) Middleware(h message.HandlerFunc) message.HandlerFunc {
	loop := retryLoop{next: h, onRetry: r.OnRetry, log: orDiscard(r.Logger)}
	loop.maxRetries, loop.waits = r.plan()
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx := msg.Context()
		if ctx.Err() != nil {
			return nil, handBack(ctx, nil)
		}
		produced, err := h(msg)
		if err == nil {
			return produced, nil
		}
		return loop.failed(ctx, msg, err)
	}
}

// retryLoop is what all messages share; it is read only.
type retryLoop struct {
	next       message.HandlerFunc
	maxRetries int
	waits      backoffPlan
	onRetry    func(*message.Message, RetryInfo)
	log        *slog.Logger
}

// failed goes on after the first attempt, which ended with err.
func (l *retryLoop) failed(ctx context.Context, msg *message.Message, err error) ([]*message.Message, error) {
	first := time.Now()
	last := first
	for attempt := 1; ; attempt++ {
		msg.SetContext(ctx)
		if classify(err) != again {
			if attempt > 1 {
				err = &triedError{attempts: attempt, err: err, firstAt: first, lastAt: last}
			}
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, handBack(ctx, err)
		}
		if attempt > l.maxRetries {
			return nil, &ExhaustedError{Attempts: attempt, Err: err, FirstAt: first, LastAt: last}
		}
		delay, told := RetryDelay(err)
		if !told {
			delay = l.waits.delay(attempt, rand.Float64())
		}
		l.tell(ctx, msg, RetryInfo{Attempt: attempt, Delay: delay, Err: err})
		if !pause(ctx, delay) {
			return nil, handBack(ctx, err)
		}
		msg.SetContext(withAttempt(ctx, attempt+1))
		var produced []*message.Message
		if produced, err = l.next(msg); err == nil {
			msg.SetContext(ctx)
			return produced, nil
		}
		last = time.Now()
	}
}

func (l *retryLoop) tell(ctx context.Context, msg *message.Message, info RetryInfo) {
	l.log.WarnContext(ctx, "attempt failed, will retry",
		"topic", topicOf(ctx), "handler", HandlerName(ctx), "event_id", msg.UUID,
		"event_type", msg.Metadata[wire.EventType], "attempt", info.Attempt, "delay", info.Delay, "error", info.Err)
	if l.onRetry != nil {
		callHook(ctx, l.log, "OnRetry", func() { l.onRetry(msg, info) })
	}
}
