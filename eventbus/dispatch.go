package eventbus

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware"
)

// dispatch is the heart of the message chain: it finds the handlers by the
// event's wire name, decodes once and only when there are any, and runs each
// through its own chain. It returns nil when all succeeded, nobody wanted the
// event, or it was discarded; *middleware.HandlersError when some gave up;
// *UndecodableError; or an error wrapping middleware.ErrHandedBack.
func (b *Bus) dispatch(msg *message.Message) ([]*message.Message, error) {
	d := deliveryFrom(msg.Context())
	if d == nil { // a middleware replaced the context instead of wrapping it
		d = &delivery{Context: msg.Context(), bus: b}
		msg.SetContext(d)
	}
	d.verdict = succeeded // middleware around may come here again
	if d.local {
		return nil, d.fanOut(msg, b.table.Load().of(d.et))
	}
	if facts := middleware.DeliveryFrom(d); facts != nil && facts.Malformed != nil {
		return nil, &UndecodableError{Err: facts.Malformed}
	}
	name := msg.Metadata[wire.EventType]
	if name == "" {
		return nil, &UndecodableError{Err: errors.New("foreign message: it has no " + wire.EventType)}
	}
	subs, et := b.table.Load().handlers(name, b.registry)
	subs, err := b.aimed(msg, subs)
	if err != nil {
		return nil, err
	}
	if len(subs) == 0 {
		d.verdict = skipped
		return nil, nil
	}
	event, err := b.decode(et, msg)
	if err != nil {
		return nil, err
	}
	d.et, d.event, d.base = et, event, event.EventBase()
	return nil, d.fanOut(msg, subs)
}

// aimed leaves, of the handlers of a replayed letter, those that it is meant
// for: the ones that failed, of the group that failed. When this group has none
// of them any more (renamed, not deployed yet) the letter must not get lost.
func (b *Bus) aimed(msg *message.Message, subs []*subscription) ([]*subscription, error) {
	target, ok := dlq.ReplayTarget(msg)
	switch {
	case !ok:
		return subs, nil
	case target.Group != "" && target.Group != b.cfg.Group:
		return nil, nil
	case len(target.Handlers) == 0:
		return subs, nil
	}
	var aimed []*subscription
	for _, s := range subs {
		if slices.Contains(target.Handlers, s.name) {
			aimed = append(aimed, s)
		}
	}
	if len(aimed) == 0 {
		return nil, &UndecodableError{
			Type: msg.Metadata[wire.EventType],
			Err:  fmt.Errorf("replayed for the handlers %s, of which this bus has none now", clip(strings.Join(target.Handlers, ","))),
		}
	}
	return aimed, nil
}

// decode makes the event of a message whose type is known.
func (b *Bus) decode(et *eventType, msg *message.Message) (_ Event, err error) {
	bad := func(err error) error { return &UndecodableError{Type: et.name, Err: err} }
	defer func() {
		if r := recover(); r != nil {
			err = bad(&middleware.PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	payload := []byte(msg.Payload)
	lifted := false
	if et.upcast != nil {
		v, err := b.versionOf(msg)
		if err != nil {
			return nil, bad(err)
		}
		if v > 0 && v < et.version {
			if payload, err = et.upcast(v, payload); err != nil {
				return nil, bad(fmt.Errorf("upcast from version %d: %w", v, err))
			}
			lifted = true
		}
	}
	e := et.newEvent()
	if err := b.cfg.Codec.Decode(payload, e); err != nil {
		return nil, bad(err)
	}
	base := e.EventBase()
	if base.EventID == "" || base.AggregateID == "" || base.OccurredAt.IsZero() {
		fill(base, msg)
	}
	base.EventType = et.name
	if lifted {
		base.EventVersion = et.version
	}
	return e, nil
}

// versionOf asks the metadata first, and the payload, where the codec can look
// into it, only when that does not tell.
func (b *Bus) versionOf(msg *message.Message) (int, error) {
	if v, err := strconv.Atoi(msg.Metadata[wire.EventVersion]); err == nil {
		return v, nil
	}
	if peeker, ok := b.cfg.Codec.(codec.VersionPeeker); ok {
		return peeker.Version(msg.Payload)
	}
	return 0, nil
}

// fanOut runs the handlers of one event, all at the same time: a slow one
// holds up none of the others.
func (d *delivery) fanOut(msg *message.Message, subs []*subscription) error {
	if d.local && !d.bus.wire && slices.ContainsFunc(subs, (*subscription).looks) {
		if err := d.bus.spell(d, msg); err != nil {
			return middleware.Permanent(err)
		}
	}
	if len(subs) == 1 && d.first.exit == nil {
		return d.settle([]outcome{d.run(&d.first, subs[0], msg)}, subs)
	}
	return d.settle(d.runAll(msg, subs), subs)
}

// outcome is what one handler made of one event.
type outcome struct {
	err     error
	ran     bool
	failure middleware.HandlerFailure
}

func (d *delivery) run(a *attempts, s *subscription, msg *message.Message) (o outcome) {
	// The message's own context, not the delivery: the span of the consumption and
	// what middleware put there belong to the handlers, too.
	a.Context, a.d, a.sub, a.event = msg.Context(), d, s, d.event
	if a.exit == nil {
		a.n, a.firstAt, a.lastAt, a.exits = 0, time.Time{}, time.Time{}, 0
	}
	returned := false
	defer func() {
		if r := recover(); r != nil { // a hook or a filter; handlers are caught further in
			o.ran, o.err = true, &middleware.PanicError{Value: r, Stack: debug.Stack()}
		} else if !returned {
			a.exits, a.exit = a.exits+1, &middleware.GoexitError{Stack: debug.Stack()}
			return
		}
		o.blame(a)
	}()
	if s.filter != nil && !s.filter.CanHandle(d.event) {
		returned = true
		return o
	}
	o.ran = true
	md := msg.Metadata
	if len(s.user)+len(d.bus.cfg.HandlerMiddleware) > 0 {
		md = maps.Clone(md) // what they write is neither for the other handlers nor for the letter
	}
	if md == nil && d.local {
		md = d.et.named // nobody of the user's looks, but what is logged names the type
	}
	a.own.UUID, a.own.Metadata, a.own.Payload = msg.UUID, md, msg.Payload
	a.own.SetContext(a)
	_, o.err = s.chain(&a.own)
	returned = true
	return o
}

// blame puts together what the letter tells of a handler that failed.
func (o *outcome) blame(a *attempts) {
	if o.err != nil {
		o.failure = middleware.HandlerFailure{Handler: a.sub.name, Err: o.err, Attempts: a.n, FirstAt: a.firstAt, LastAt: a.lastAt}
	}
}

// looks tells whether somebody of the user's looks at the handler's messages.
func (s *subscription) looks() bool {
	return len(s.user) > 0 || s.retry != nil && s.retry.OnRetry != nil
}

// settle joins what the handlers made of the event into one verdict.
func (d *delivery) settle(outcomes []outcome, subs []*subscription) error {
	ran := false
	var failures []middleware.HandlerFailure
	var gaveUp []*subscription
	for i := range outcomes {
		o := &outcomes[i]
		ran = ran || o.ran
		switch {
		case o.err == nil:
		case errors.Is(o.err, middleware.ErrHandedBack):
			return o.err
		case middleware.IsDiscard(o.err):
			d.bus.counts.discards.Add(1)
		default:
			failures, gaveUp = append(failures, o.failure), append(gaveUp, subs[i])
		}
	}
	for _, s := range gaveUp { // all of them, now that nobody handed the event back
		s.stats.letters.Add(1)
	}
	if len(failures) > 0 {
		return &middleware.HandlersError{Failures: failures}
	}
	if !ran {
		d.verdict = skipped
	}
	return nil
}

// build makes the handler's own chain: retry around each attempt, which is
// counted, bounded in time and traced, and runs the user's middleware.
func (s *subscription) build() error {
	if s.retry != nil {
		if err := s.retry.Validate(); err != nil {
			return err
		}
	}
	for _, mw := range s.user {
		if mw == nil {
			return errNilMiddleware
		}
	}
	s.chain = link(s.end, s.steps())
	return nil
}

// attempt counts one run of the handler and remembers when it failed.
func (s *subscription) attempt(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		a := attemptsFrom(msg.Context())
		var err error
		if a != nil && a.exit != nil { // this attempt was made, and ended its goroutine
			err, a.exit = a.exit, nil
		} else {
			_, err = next(msg)
		}
		c := &s.bus.counts
		if a != nil {
			a.n++
			if a.n > 1 {
				c.retries.Add(1)
				s.stats.retries.Add(1)
			}
		}
		if err == nil {
			c.handlerOK.Add(1)
			s.stats.ok.Add(1)
			return nil, nil
		}
		if errors.Is(err, middleware.ErrHandedBack) && msg.Context().Err() == nil {
			err = &foreignHandBackError{err} // somebody else's message was handed back, not this one
		}
		c.handlerErr.Add(1)
		s.stats.failed.Add(1)
		now := time.Now()
		c.lastErr.Store(now.UnixNano())
		if a != nil {
			a.lastAt = now
			if a.firstAt.IsZero() {
				a.firstAt = now
			}
		}
		return nil, err
	}
}

// foreignHandBackError is a failure that only looks like a hand-back of this message: the
// handler got it from elsewhere, and this message's context lives.
type foreignHandBackError struct{ err error }

func (e *foreignHandBackError) Error() string { return e.err.Error() }

// end is the end of the chain: the handler with the event.
func (s *subscription) end(msg *message.Message) ([]*message.Message, error) {
	ctx := msg.Context()
	a := attemptsFrom(ctx)
	if a == nil {
		return nil, middleware.Permanent(errors.New("eventbus: a middleware replaced the message's context: wrap it instead"))
	}
	return nil, s.call(ctx, a.event)
}

var errNilMiddleware = errors.New("a middleware is nil")
