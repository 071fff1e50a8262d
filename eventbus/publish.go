package eventbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// BatchPublisher is a Publisher that takes a whole batch and tells what became
// of each message; leat's own transports are.
type BatchPublisher interface {
	message.Publisher
	// PublishBatch returns when the outcome of every message is known or ctx
	// ended. Its result has an entry for each message: nil when the broker
	// confirmed it; an error that wraps [ErrUnknown] when it may or may not be
	// there; any other error when it is not. A nil slice means all confirmed.
	PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error
}

// Publish publishes the events, in order, and returns nil when the broker has
// confirmed every one; in memory, when every handler has run. Otherwise it
// returns a [*PublishError] that tells for each event whether it is confirmed,
// refused or unknown. When one event is invalid, nothing is sent. Publishing
// nothing does nothing.
//
// It blocks until the outcome is known or ctx ends; what was sent and not
// confirmed by then is unknown. It does not retry. The events are read, never
// changed, and must not be changed by the caller until it returns.
//
// Publish may be called from many goroutines, and from handlers, with the
// handler's context: in memory the event is then handled at once, before
// Publish returns. A handler that ends its goroutine there can end the
// publisher's, once the events are dealt with. After Shutdown it returns
// [ErrClosed].
func (b *Bus) Publish(ctx context.Context, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	nested := b.nested(ctx)
	if !b.gate.enter(nested) {
		return ErrClosed
	}
	defer b.gate.leave(nested)
	batch, err := b.prepare(events)
	if err != nil {
		b.counts.publishErrors.Add(int64(len(events)))
		return err
	}
	return b.send(ctx, batch)
}

// Check tells what Publish would refuse before it sends anything: nil, or the
// [*PublishError] with every event refused. It sends nothing. Whoever stores
// events and publishes them afterwards checks them first.
func (b *Bus) Check(events ...Event) error {
	_, err := b.prepare(events)
	return err
}

// outgoing is an event that passed the door.
type outgoing struct {
	et      *eventType
	event   Event
	base    Base
	msg     *message.Message // not in memory
	payload []byte           // in memory, when somebody will look at it
}

// prepare stamps and encodes; the error tells every event that was refused.
func (b *Bus) prepare(events []Event) ([]outgoing, error) {
	batch := make([]outgoing, len(events))
	var bad *PublishError
	for i, e := range events {
		out := &batch[i]
		var err error
		out.et, out.base, err = b.stamp(e)
		if err == nil {
			if b.direct {
				out.event = out.et.clone(e)
				*out.event.EventBase() = out.base
				if b.wire {
					out.payload, err = b.encode(&out.base, e)
				}
			} else {
				out.event = e
				out.msg, err = b.message(e, &out.base)
			}
		}
		if err != nil {
			if bad == nil {
				bad = &PublishError{Topic: b.cfg.Topic, Results: make([]Result, len(events))}
			}
			bad.Results[i] = Result{Outcome: Refused, Err: err}
			bad.Results[i].EventID, bad.Results[i].EventType = b.identify(e)
		}
	}
	if bad == nil {
		return batch, nil
	}
	for i := range bad.Results {
		if r := &bad.Results[i]; r.Err == nil {
			*r = Result{
				EventID: batch[i].base.EventID, EventType: batch[i].base.EventType, Outcome: Refused, Err: errNotSent,
			}
		}
	}
	return nil, bad
}

// identify names an event that was refused as far as it goes: the Go type
// where the registry has no name.
func (b *Bus) identify(e Event) (id, eventType string) {
	v := reflect.ValueOf(e)
	if e == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return "", fmt.Sprintf("%T", e)
	}
	id = e.EventBase().EventID
	if name, ok := b.registry.NameOf(e); ok {
		return id, name
	}
	return id, fmt.Sprintf("%T", e)
}

var errNotSent = errors.New("not sent: another event of the call was refused")

// send publishes a prepared batch.
func (b *Bus) send(ctx context.Context, batch []outgoing) error {
	var errs []error
	if b.direct {
		errs = b.deliver(ctx, batch)
	} else {
		msgs := make([]*message.Message, len(batch))
		for i := range batch {
			msgs[i] = batch[i].msg
			msgs[i].SetContext(ctx)
		}
		span := b.tracer.StartPublish(ctx, msgs...)
		errs = b.transmit(ctx, msgs)
		span.EndEach(errs)
	}
	return b.account(batch, errs)
}

// account counts the outcomes of a batch, and tells them.
func (b *Bus) account(batch []outgoing, errs []error) error {
	now := time.Now().UnixNano()
	b.counts.lastPublish.Store(now)
	bad := 0
	for _, err := range errs {
		if err != nil {
			bad++
		}
	}
	b.counts.published.Add(int64(len(batch) - bad))
	if bad == 0 {
		return nil
	}
	b.counts.publishErrors.Add(int64(bad))
	b.counts.lastErr.Store(now)
	pe := &PublishError{Topic: b.cfg.Topic, Results: make([]Result, len(batch))}
	for i := range batch {
		r := &pe.Results[i]
		r.EventID, r.EventType, r.Err = batch[i].base.EventID, batch[i].base.EventType, errs[i]
		switch {
		case r.Err == nil:
		case errors.Is(r.Err, ErrUnknown):
			r.Outcome = Unknown
		default:
			r.Outcome = Refused
		}
	}
	return pe
}

// transmit hands the messages to the publisher. The context ends with the
// caller's and at the deadline of a shutdown.
func (b *Bus) transmit(ctx context.Context, msgs []*message.Message) []error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.kill, func() { cancel(context.Cause(b.kill)) })()

	if batcher, ok := b.cfg.Publisher.(BatchPublisher); ok {
		return publishBatch(ctx, batcher, b.cfg.Topic, msgs)
	}
	errs := make([]error, len(msgs))
	for i, msg := range msgs {
		if ctx.Err() != nil {
			return notSent(errs, i, context.Cause(ctx))
		}
		if err := b.publishOne(ctx, msg); err != nil {
			// What the publisher's error is worth is not known to us.
			errs[i] = fmt.Errorf("%w: %w", ErrUnknown, err)
			return notSent(errs, i+1, errors.New("an earlier event of the call failed"))
		}
	}
	return errs
}

// publishBatch takes nothing for confirmed that the publisher did not answer
// for: it may panic, or forget some of the messages.
func publishBatch(ctx context.Context, p BatchPublisher, topic string, msgs []*message.Message) (errs []error) {
	unknown := func(from int, why string) {
		for i := from; i < len(msgs); i++ {
			errs = append(errs, fmt.Errorf("%w: %s", ErrUnknown, why))
		}
	}
	defer func() {
		if r := recover(); r != nil {
			errs = nil
			unknown(0, fmt.Sprintf("the publisher panicked: %v", r))
		}
	}()
	errs = p.PublishBatch(ctx, topic, msgs)
	if errs != nil && len(errs) != len(msgs) {
		errs = slices.Clone(errs[:min(len(errs), len(msgs))])
		unknown(len(errs), "the publisher did not tell")
	}
	return errs
}

func notSent(errs []error, from int, why error) []error {
	for i := from; i < len(errs); i++ {
		errs[i] = fmt.Errorf("not sent: %w", why)
	}
	return errs
}

// publishOne bounds a publisher that knows no context: its caller leaves when
// ctx ends; the publisher's own goroutine ends when the publisher lets it.
func (b *Bus) publishOne(ctx context.Context, msg *message.Message) error {
	if ctx.Done() == nil {
		return b.cfg.Publisher.Publish(b.cfg.Topic, msg)
	}
	done := make(chan error, 1)
	go func() {
		err := errors.New("the publisher ended its goroutine")
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("the publisher panicked: %v", r)
			}
			done <- err
		}()
		err = b.cfg.Publisher.Publish(b.cfg.Topic, msg)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// PublishInBackground checks and encodes the events, and publishes them after
// it returned. What is wrong with the events is returned; what happens later
// is counted in BackgroundErrors and logged. Events of two calls may overtake
// each other.
//
// At most MaxBackground calls are under way: one more runs inline, as Publish,
// and returns its error, so that a fast producer is slowed down and nothing is
// dropped. The values of ctx are kept, its end is not: Shutdown waits for what
// is under way. From a handler in memory, what the handler's context added is
// not kept either, except for the span: in a chain of events without end each
// would hold all that were before. After Shutdown it returns [ErrClosed].
func (b *Bus) PublishInBackground(ctx context.Context, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	nested := b.nested(ctx)
	if !b.gate.enter(nested) {
		return ErrClosed
	}
	batch, err := b.prepare(events)
	if err != nil {
		b.counts.publishErrors.Add(int64(len(events)))
		b.gate.leave(nested)
		return err
	}
	select {
	case b.background <- struct{}{}:
	default:
		defer b.gate.leave(nested)
		b.counts.bgInline.Add(1)
		if err := b.send(ctx, batch); err != nil {
			b.counts.bgErrors.Add(1)
			return err
		}
		return nil
	}
	b.counts.bgCreated.Add(1)
	ctx = handOn(ctx)
	go func() {
		defer b.gate.leave(nested)
		defer func() { <-b.background }()
		if err := b.send(ctx, batch); err != nil {
			b.counts.bgErrors.Add(1)
			b.log.ErrorContext(ctx, "background publish failed", slog.String("topic", b.cfg.Topic), slog.Any("error", err))
		}
	}()
	return nil
}

// BackgroundTaskCount returns how many background publishes are under way.
func (b *Bus) BackgroundTaskCount() int { return len(b.background) }

// nested tells whether ctx is that of a handler of this bus, or comes from one
// by way of another bus in memory.
func (b *Bus) nested(ctx context.Context) bool {
	for d := deliveryFrom(ctx); d != nil; d = deliveryFrom(d.Context) {
		if d.bus == b {
			return true
		}
	}
	return false
}
