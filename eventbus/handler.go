package eventbus

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

// Handler handles events of any type. An error makes the bus try again, with
// backoff, this handler alone; the wrappers of package middleware steer that:
// Permanent (no retry), RetryAfter (that wait), Discard (let it go). A panic
// counts as an error, and so does the end of the goroutine (a test's FailNow);
// after the first such end the handler has a goroutine of its own for each
// event. The same event can come more than once: handlers must
// bear it.
type Handler interface {
	// Handle handles the event: nil is success, any other error is tried again
	// unless it is steered by package middleware.
	Handle(ctx context.Context, e Event) error
}

// HandlerFunc makes a plain function a [Handler].
type HandlerFunc func(ctx context.Context, e Event) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, e Event) error { return f(ctx, e) }

// EventFrom returns the event that the handler whose context this is handles,
// and false outside of handlers. It is for code below the handler that wants to
// know why it runs, such as what caused an event that it makes. The event is
// shared: read it only.
func EventFrom(ctx context.Context) (Event, bool) {
	if a := attemptsFrom(ctx); a != nil {
		return a.event, true
	}
	return nil, false
}

// Filter may be implemented by a [Handler] to choose among the events of its
// types. It is asked once for each event, before the handler's chain, and must
// not block. An event that it declines counts as not delivered to the handler.
type Filter interface {
	// CanHandle reports whether the handler wants the event.
	CanHandle(e Event) bool
}

// EventSubscriber is a handler that declares its own name and types: a
// projection, say. See [Bus.SubscribeAll].
type EventSubscriber interface {
	Handler
	// Name is the handler's name, as in Subscribe.
	Name() string
	// SubscribedTo lists the types to subscribe to; it is asked once.
	SubscribedTo() []Type
}

// SubscribeOption refines one subscription.
type SubscribeOption interface{ applySubscription(*subscription) }

type subscribeOption func(*subscription)

func (o subscribeOption) applySubscription(s *subscription) { o(s) }

// WithRetry replaces the bus's retry policy for this handler.
func WithRetry(r middleware.Retry) SubscribeOption {
	return subscribeOption(func(s *subscription) { s.retry = &r })
}

// WithTimeout bounds each attempt of this handler: its context ends after d.
// Zero means the bus's HandlerTimeout, negative no time-out.
func WithTimeout(d time.Duration) SubscribeOption {
	return subscribeOption(func(s *subscription) { s.timeout = d })
}

// WithMiddleware puts middleware around each attempt of this handler, the
// first one outermost, inside retry, time-out and span. Any Watermill
// middleware fits.
func WithMiddleware(mws ...message.HandlerMiddleware) SubscribeOption {
	return subscribeOption(func(s *subscription) { s.user = append(s.user, mws...) })
}
