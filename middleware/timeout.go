package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// DefaultOverrunGrace is how long after its deadline a handler may still run
// before it counts as one that ignores its context. Shorter, and a handler that
// is rolling back a transaction is blamed.
const DefaultOverrunGrace = time.Second

// Timeout limits one run of the handler: its context ends after that time with a
// [*TimeoutError] as cause. What the handler then returns becomes a
// [*TimeoutError], unless it succeeded after all or decided for itself
// ([Permanent], [Discard]). Afterwards the message has the context that it had
// before, whatever the handler did to it, so that whoever is outside can still
// work with it.
//
// A handler that ignores its context cannot be stopped from outside. It is
// waited for, because nobody may handle the message a second time beside it;
// meanwhile it is logged and OnOverrun is called, once.
type Timeout struct {
	// After is how long the handler may take. 0 means no limit.
	After time.Duration

	// Grace is how long it may take to notice. 0 means DefaultOverrunGrace.
	Grace time.Duration

	// OnOverrun is called, on a goroutine of its own, when a handler still runs
	// after After and Grace. It must not block. A panic in it is logged.
	OnOverrun func(Overrun)

	// Logger gets an error for each overrun. Nil discards.
	Logger *slog.Logger
}

// Overrun describes a handler that ignores its context and still runs.
type Overrun struct {
	Handler   string        // its name
	Topic     string        // that the message came from
	MessageID string        // its UUID
	EventType string        // the wire name, when the message has one
	After     time.Duration // the time that it had
	Running   time.Duration // the time that it has taken so far
}

// Validate reports every problem of the configuration at once.
func (t Timeout) Validate() error {
	var errs []error
	if t.After < 0 {
		errs = append(errs, fmt.Errorf("middleware: Timeout.After: must be at least 0, is %v", t.After))
	}
	if t.Grace < 0 {
		errs = append(errs, fmt.Errorf("middleware: Timeout.Grace: must be at least 0, is %v", t.Grace))
	}
	return errors.Join(errs...)
}

// Middleware is the [message.HandlerMiddleware]. Invalid fields count as 0.
func (t Timeout) Middleware(h message.HandlerFunc) message.HandlerFunc {
	if t.After <= 0 {
		return h
	}
	if t.Grace <= 0 {
		t.Grace = DefaultOverrunGrace
	}
	if t.After+t.Grace < t.After { // so long that the sum wraps around
		t.Grace = math.MaxInt64 - t.After
	}
	t.Logger = orDiscard(t.Logger)
	return func(msg *message.Message) ([]*message.Message, error) {
		return t.run(h, msg)
	}
}

func (t *Timeout) run(h message.HandlerFunc, msg *message.Message) ([]*message.Message, error) {
	outer := msg.Context()
	cause := &TimeoutError{Handler: HandlerName(outer), After: t.After}
	ctx, cancel := context.WithTimeoutCause(outer, t.After, cause)
	defer cancel()
	// The message is the handler's while it runs: what a report needs is taken now.
	w := overrunWatch{id: msg.UUID, eventType: msg.Metadata[wire.EventType], began: time.Now()}
	w.reporting.Add(1)
	timer := time.AfterFunc(t.After+t.Grace, func() {
		defer w.reporting.Done()
		t.report(outer, &w)
	})
	defer func() {
		if !timer.Stop() { // a report has begun
			w.reporting.Wait()
		}
	}()
	// Deferred as well: a panic on its way out must not leave a dead context behind.
	defer msg.SetContext(outer)
	msg.SetContext(ctx)

	produced, err := h(msg)
	if err == nil {
		return produced, nil
	}
	return nil, t.judge(outer, ctx, cause, err)
}

// judge decides what becomes of an error that the handler returned.
func (t *Timeout) judge(outer, ctx context.Context, cause *TimeoutError, err error) error {
	var why *TimeoutError
	if !errors.As(context.Cause(ctx), &why) || why != cause || outer.Err() != nil {
		return err // not our doing, or the message itself has to go back
	}
	switch classify(err) {
	case final, discarded, undecodable:
		return err
	case handedBack: // by a Retry inside, whose context we ended
		err = nil
	case again:
	}
	return &TimeoutError{Handler: cause.Handler, After: t.After, Err: err}
}

// overrunWatch is what is known of a handler before it runs.
type overrunWatch struct {
	id, eventType string
	began         time.Time
	reporting     sync.WaitGroup
}

func (t *Timeout) report(ctx context.Context, w *overrunWatch) {
	o := Overrun{
		Handler: HandlerName(ctx), Topic: topicOf(ctx), MessageID: w.id, EventType: w.eventType,
		After: t.After, Running: time.Since(w.began),
	}
	t.Logger.ErrorContext(ctx, "handler ignores its context and still runs", "topic", o.Topic,
		"handler", o.Handler, "event_id", o.MessageID, "event_type", o.EventType,
		"timeout", o.After, "running", o.Running)
	if t.OnOverrun != nil {
		callHook(ctx, t.Logger, "OnOverrun", func() { t.OnOverrun(o) })
	}
}
