package eventbus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/ctxkey"
	"github.com/leat-go/leat/middleware"
)

// verdict is what became of a delivery.
type verdict int

const (
	succeeded verdict = iota
	skipped           // nobody here wanted it
	failed            // somebody gave up on it: buried or dropped
)

// delivery is one message on its way through the bus, and the context that its
// handlers see. On a broker that is the transport's: live until the drain's
// deadline. In memory it is the publisher's, and ends at the drain's deadline
// too; the two are joined only when somebody asks for Done.
type delivery struct {
	context.Context                 //nolint:containedctx // it is a context
	names           context.Context //nolint:containedctx // what the router tells, when it is not in Context; mostly nil
	bus             *Bus
	kill            context.Context //nolint:containedctx // in memory: ends at the drain's deadline; else nil

	// In memory the event is here from the start (local); else, and when a
	// letter is replayed there, after its decoding.
	local bool
	et    *eventType
	event Event
	base  *Base

	verdict  verdict
	untraced bool // in memory: nobody to trace for

	kept map[*subscription]outcome // of the others, when a handler has ended the goroutine; mostly nil

	join   sync.Once
	joined atomic.Pointer[joint]

	// The first handler's attempts, and in memory the message, are in here to
	// spare allocations.
	first attempts
	msg   message.Message
}

type deliveryKey struct{}

var noHandler any = ""

func deliveryFrom(ctx context.Context) *delivery {
	d, _ := ctx.Value(deliveryKey{}).(*delivery)
	return d
}

// joint is a context that ends with either of two.
type joint struct {
	ctx   context.Context //nolint:containedctx // it is a pair of them
	leave func()
}

// Value finds the delivery itself, and hides what the context says of another
// one: it may be that of a handler that publishes, and its name, its attempts
// and what its transport told are not those of this event. A router's own name
// for the bus is no handler to name in a letter. Other keys belong to the
// contexts that it stands for, so that package context finds the one that
// cancels.
func (d *delivery) Value(key any) any {
	switch key.(type) {
	case deliveryKey:
		return d
	case ctxkey.Handler:
		return noHandler
	case ctxkey.Attempt, attemptsKey:
		return nil
	case ctxkey.Exits:
		return d
	case ctxkey.Group:
		return d.bus.groupAny
	case ctxkey.Delivery:
		if d.bus.direct {
			return d.bus.here
		}
	}
	if d.names != nil {
		if v := d.names.Value(key); v != nil {
			return v
		}
	}
	if d.kill != nil {
		if j := d.joined.Load(); j != nil && j.ctx != d.kill {
			return j.ctx.Value(key)
		}
		if d.Context.Done() == nil || d.kill.Err() != nil && d.Context.Err() == nil {
			if v := d.kill.Value(key); v != nil {
				return v
			}
		}
	}
	return d.Context.Value(key)
}

// Done ends with the first of the two contexts.
func (d *delivery) Done() <-chan struct{} {
	switch {
	case d.kill == nil:
		return d.Context.Done()
	case d.Context.Done() == nil:
		return d.kill.Done()
	}
	d.join.Do(func() {
		ctx, cancel := context.WithCancelCause(d.Context)
		stop := context.AfterFunc(d.kill, func() { cancel(context.Cause(d.kill)) })
		d.joined.Store(&joint{ctx: ctx, leave: func() { stop(); cancel(nil) }})
	})
	return d.joined.Load().ctx.Done()
}

// Err is that of the first context that ended.
func (d *delivery) Err() error {
	if j := d.joined.Load(); j != nil && j.ctx != d.kill {
		return j.ctx.Err()
	}
	if err := d.Context.Err(); err != nil || d.kill == nil {
		return err
	}
	return d.kill.Err()
}

// release ends the joined context, so that a publisher's long-lived context
// does not collect them. Who keeps a handler's context beyond that and only
// then asks for Done gets the bus's own.
func (d *delivery) release() {
	if d.kill == nil {
		return
	}
	d.join.Do(func() { d.joined.Store(d.bus.killed) })
	if j := d.joined.Load(); j.leave != nil {
		j.leave()
	}
}

// attempts is the context of one handler with one event: through all of its
// attempts, with their record for the letter.
type attempts struct {
	context.Context //nolint:containedctx // it is a context
	d               *delivery
	sub             *subscription
	event           Event
	n               int
	firstAt         time.Time
	lastAt          time.Time

	exits int                     // how often the goroutine ended below run
	exit  *middleware.GoexitError // that, until it counts as an attempt
	// own is what the handler's chain gets: its own message, so that no
	// middleware of one handler disturbs another, with the payload shared.
	own message.Message
}

type attemptsKey struct{}

// Value finds the attempts themselves and the handler's name.
func (a *attempts) Value(key any) any {
	switch key.(type) {
	case attemptsKey:
		return a
	case ctxkey.Handler:
		return a.sub.nameAny
	}
	return a.Context.Value(key)
}

func attemptsFrom(ctx context.Context) *attempts {
	if a, ok := ctx.(*attempts); ok {
		return a
	}
	a, _ := ctx.Value(attemptsKey{}).(*attempts)
	return a
}
