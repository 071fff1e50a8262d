package eventbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/middleware/tracing"
)

// take is the consumer half of the bus: the function that a Watermill router
// calls for each message. It returns an error only when the message's context
// ended before the message was finished, which hands it back; never for what a
// handler did, since an error here is a nack.
func (b *Bus) take(msg *message.Message) error {
	return b.handle(&delivery{Context: msg.Context(), bus: b}, msg)
}

// takeCalled takes a message whose transport calls the bus without a router in
// between; names is what a router would have put into its context.
func (b *Bus) takeCalled(names context.Context, msg *message.Message) error {
	return b.handle(&delivery{Context: msg.Context(), names: names, bus: b}, msg)
}

func (b *Bus) handle(d *delivery, msg *message.Message) error {
	if b.direct { // a letter that is replayed
		d.kill = b.kill
		defer d.release()
	}
	msg.SetContext(d)
	return b.carry(d, msg, func(err error) { // what a router does with it
		if err != nil {
			msg.Nack()
		} else {
			msg.Ack()
		}
	})
}

// pass runs the message chain. Burial is tried inside it until it is
// confirmed; what comes out of it while the context lives is a defect of a
// middleware or of a store that panics, and must not become a nack either: the
// message waits, and goes through again.
func (b *Bus) pass(d *delivery, msg *message.Message) error {
	wait := 100 * time.Millisecond
	for {
		_, err := b.chain(msg)
		if err == nil || errors.Is(err, middleware.ErrHandedBack) {
			return err
		}
		if d.Err() != nil {
			return fmt.Errorf("%w: %w", middleware.ErrHandedBack, context.Cause(d))
		}
		b.log.ErrorContext(msg.Context(), "message chain failed, will run again", append(b.facts(d, msg), slog.Any("error", err), slog.Duration("in", wait))...)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-d.Done():
		}
		timer.Stop()
		wait = min(2*wait, 30*time.Second)
		msg.SetContext(d)
	}
}

func (b *Bus) conclude(d *delivery, err error) error {
	c := &b.counts
	if err != nil {
		c.handedBack.Add(1)
		return err
	}
	c.lastConsume.Store(time.Now().UnixNano())
	switch d.verdict {
	case succeeded:
		c.success.Add(1)
	case failed:
		c.failed.Add(1)
	case skipped:
		c.skipped.Add(1)
	}
	return nil
}

// deliver is publishing in memory: each event goes through the same chain, one
// after another, and is refused no more once its turn has come. What a handler
// does is not the publisher's business; only an event whose handling was cut
// short, by the publisher's context or the bus's shutdown, is told: nobody
// else has it.
func (b *Bus) deliver(ctx context.Context, batch []outgoing) (errs []error) {
	fail := func(i int, err error) {
		if errs == nil {
			errs = make([]error, len(batch))
		}
		errs[i] = err
	}
	one := func(i int) {
		if ctx.Err() != nil {
			fail(i, fmt.Errorf("not handled: %w", context.Cause(ctx)))
			return
		}
		b.deliverOne(ctx, &batch[i], func(err error) { fail(i, fmt.Errorf("%w: %w", ErrUnknown, err)) })
	}
	i := 0
	defer func() {
		if i == len(batch) {
			return
		}
		// A handler ended this goroutine, and is through with its event. The others
		// of the batch have their turn before the end.
		for i++; i < len(batch); i++ {
			one(i)
		}
		_ = b.account(batch, errs) // nobody is there to be told
	}()
	for ; i < len(batch); i++ {
		one(i)
	}
	return errs
}

// deliverOne tells failed of an event whose handling was cut short.
func (b *Bus) deliverOne(ctx context.Context, out *outgoing, failed func(error)) {
	d := &delivery{Context: ctx, bus: b, kill: b.kill, local: true, et: out.et, event: out.event, base: &out.base}
	defer d.release()
	msg := &d.msg
	msg.UUID = out.base.EventID
	if b.wire {
		msg.Metadata, msg.Payload = metadata(d.base), out.payload
	}
	var span tracing.Publishing
	if b.tracer.Enabled() {
		if msg.Metadata == nil {
			msg.Metadata = metadata(d.base) // the trace goes on in it, as on a wire
		}
		span = b.tracer.StartPublish(ctx, msg)
	} else {
		d.untraced = !b.wire
	}
	msg.SetContext(d)
	ended := func(err error) {
		if err != nil {
			// Handing back is between a bus and its broker; the publisher may be a
			// handler of another bus, and must not pass it on.
			err = fmt.Errorf("its handling was cut short: %w", cmp.Or(context.Cause(d), context.Canceled))
			failed(err)
		}
		span.End(err)
	}
	ended(b.carry(d, msg, ended))
}

// spell gives a message in memory the payload and metadata that it would have
// on a wire: for middleware that looks at them, and for letters.
func (b *Bus) spell(d *delivery, msg *message.Message) error {
	if !b.direct || msg.Payload != nil {
		return nil
	}
	if msg.Metadata == nil {
		msg.Metadata = metadata(d.base)
	}
	payload, err := b.encode(d.base, d.event)
	msg.Payload = payload
	return err
}

// deadLetter is the step that buries, or with DisableDLQ drops, what handlers
// gave up on, and sees what became of the delivery.
func (b *Bus) deadLetter() middleware.DeadLetter {
	fail := func(ctx context.Context) {
		b.counts.lastErr.Store(time.Now().UnixNano())
		if d := deliveryFrom(ctx); d != nil {
			d.verdict = failed
		}
	}
	step := middleware.DeadLetter{
		Group: b.cfg.Group, Topic: b.cfg.Topic, Disabled: b.cfg.DisableDLQ, Logger: b.log,
		OnBuried: func(ctx context.Context, l dlq.Letter) {
			b.counts.buried.Add(1)
			fail(ctx)
			b.tellBuried(ctx, l)
		},
		OnBuryError: func(context.Context, dlq.Letter, int, error) {
			b.counts.burialErrors.Add(1)
			b.counts.lastErr.Store(time.Now().UnixNano())
		},
		OnDropped: func(ctx context.Context, l dlq.Letter) { fail(ctx) },
	}
	if !b.cfg.DisableDLQ {
		step.Burier = b.store
	}
	return step
}

// tellBuried tells of a letter, whoever buried it: the bus, or a transport of its
// own that found a message delivered too often.
func (b *Bus) tellBuried(ctx context.Context, l dlq.Letter) {
	b.tracer.OnBuried(ctx, l)
	if b.cfg.OnBuried != nil {
		b.cfg.OnBuried(ctx, l)
	}
}

// guard stands right inside the dead letters, so that what comes out of it can
// be buried: a panic is an error, in memory the message has its bytes, and
// when a context ended that is not the delivery's own (a time-out that
// the user put around the message, say) that is a failure and no hand-back.
func (b *Bus) guard(next message.HandlerFunc) message.HandlerFunc {
	next = middleware.Recover{Logger: b.log}.Middleware(next)
	return func(msg *message.Message) ([]*message.Message, error) {
		d := deliveryFrom(msg.Context())
		_, err := next(msg)
		if err == nil || d == nil {
			return nil, err
		}
		if errors.Is(err, middleware.ErrHandedBack) && d.Err() == nil {
			err = &foreignHandBackError{err}
		}
		if encodeErr := b.spell(d, msg); encodeErr != nil {
			b.log.ErrorContext(msg.Context(), "letter without payload: encode failed", append(b.facts(d, msg), slog.Any("error", encodeErr))...)
		}
		return nil, err
	}
}

func (b *Bus) facts(d *delivery, msg *message.Message) []any {
	facts := []any{slog.String("event_id", msg.UUID), slog.String("topic", b.cfg.Topic), slog.String("group", b.cfg.Group)}
	name := msg.Metadata["event_type"]
	if d != nil && d.et != nil {
		name = d.et.name
	}
	return append(facts, slog.String("event_type", name))
}
