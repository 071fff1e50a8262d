package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
)

// maxName bounds handler names: they become attributes, metric labels and
// metadata values.
const maxName = 200

// Handler is one handler of a [Router].
type Handler struct {
	r     *Router
	name  string
	topic string
	sub   message.Subscriber // a Drainer
	add   func(*opened) *message.Handler

	opening  context.CancelFunc // ends a Subscribe that is under way; under r.mu
	opened   *opened            // nil before it is subscribed; under r.mu
	stopping bool               // under r.mu

	stopped chan struct{}
}

// AddHandler adds a handler that consumes topic from sub and whose messages are
// published to publishTopic on pub, with the message acked after that. The name
// must be unique among the handlers that have not stopped; it has at most 200
// bytes, without spaces, commas and control characters.
//
// Before Run the handler waits for it; afterwards it is subscribed at once, and
// AddHandler returns when it is, or with the error. It may block as long as
// sub's Subscribe does.
//
// sub is wrapped by [Decorate] unless it is a [Drainer]. Neither sub nor pub are
// ever closed: they stay the caller's, and any number of handlers may share
// them. When the subscription ends by itself the router goes on without the
// handler and says so in [Router.Health].
//
// Mistakes are reported together in a [*HandlerError]. After Shutdown it wraps
// [ErrClosed].
func (r *Router) AddHandler(
	name, topic string, sub message.Subscriber,
	publishTopic string, pub message.Publisher,
	fn message.HandlerFunc, opts ...HandlerOption,
) (*Handler, error) {
	var errs []error
	if pub == nil {
		errs = append(errs, errors.New("the publisher must not be nil"))
	}
	if fn == nil {
		errs = append(errs, errNilFunc)
	}
	h, o, err := r.newHandler(name, topic, sub, opts, errs)
	if err != nil {
		return nil, err
	}
	fn = chain(o.middleware, fn)
	h.add = func(s *opened) *message.Handler {
		return r.wm.AddHandler(name, topic, s, publishTopic, pub, fn)
	}
	if err := r.register(h); err != nil {
		return nil, err
	}
	return h, nil
}

// AddConsumerHandler adds a handler that publishes nothing. See
// [Router.AddHandler] for the rest.
func (r *Router) AddConsumerHandler(
	name, topic string, sub message.Subscriber,
	fn message.NoPublishHandlerFunc, opts ...HandlerOption,
) (*Handler, error) {
	var errs []error
	if fn == nil {
		errs = append(errs, errNilFunc)
	}
	h, o, err := r.newHandler(name, topic, sub, opts, errs)
	if err != nil {
		return nil, err
	}
	wrapped := chain(o.middleware, func(m *message.Message) ([]*message.Message, error) { return nil, fn(m) })
	h.add = func(s *opened) *message.Handler {
		// As Watermill's AddConsumerHandler, for a function with middleware.
		return r.wm.AddHandler(name, topic, s, "", noPublisher{}, wrapped)
	}
	if err := r.register(h); err != nil {
		return nil, err
	}
	return h, nil
}

var errNilFunc = errors.New("the handler function must not be nil")

// noPublisher refuses what a consumer handler's middleware returns.
type noPublisher struct{}

func (noPublisher) Publish(string, ...*message.Message) error {
	return message.ErrOutputInNoPublisherHandler
}

func (noPublisher) Close() error { return nil }

func chain(m []message.HandlerMiddleware, fn message.HandlerFunc) message.HandlerFunc {
	for i := len(m) - 1; i >= 0; i-- {
		fn = m[i](fn)
	}
	return fn
}

func (r *Router) newHandler(name, topic string, sub message.Subscriber, opts []HandlerOption, errs []error) (*Handler, *handlerOptions, error) {
	o := &handlerOptions{drain: DrainConfig{
		DrainTimeout:  r.cfg.DrainTimeout,
		SettleTimeout: r.cfg.SettleTimeout,
		Logger:        r.log.With("handler", name),
	}}
	for _, opt := range opts {
		opt.apply(o)
	}
	errs = append(errs, checkName(name))
	if topic == "" {
		errs = append(errs, errors.New("the topic must not be empty"))
	}
	if sub == nil {
		errs = append(errs, errors.New("the subscriber must not be nil"))
	}
	if _, ok := sub.(Drainer); !ok {
		sub = Decorate(sub, o.drain)
	} else if o.drainSet {
		errs = append(errs, errors.New("WithConcurrency, WithKey: the subscriber drains by itself and has settings of its own"))
	}
	if err := errors.Join(append(errs, o.errs...)...); err != nil {
		return nil, nil, &HandlerError{name, err}
	}
	return &Handler{r: r, name: name, topic: topic, sub: sub, stopped: make(chan struct{})}, o, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name must not be empty")
	case len(name) > maxName:
		return fmt.Errorf("the name must not be longer than %d bytes", maxName)
	case !utf8.ValidString(name):
		return errors.New("the name must be valid UTF-8")
	case strings.ContainsFunc(name, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) || c == ',' }):
		return errors.New("the name must not contain spaces, commas or control characters")
	}
	return nil
}

// Name returns the name under which the handler was added.
func (h *Handler) Name() string { return h.name }

// Stopped is closed when the handler has stopped, for whatever reason; then
// its name is free again.
func (h *Handler) Stopped() <-chan struct{} { return h.stopped }

// Stop drains this handler alone: its subscription ends as [Drainer] says, the
// others go on, and so does the router when it was the last one. A context
// without a deadline is given Config.DrainTimeout. When the handler is still
// running at the deadline Stop returns [ErrCloseTimeout] within moments.
//
// A second call returns nil. A handler must not stop itself and wait for it.
func (h *Handler) Stop(ctx context.Context) (Report, error) {
	r := h.r
	r.mu.Lock()
	h.stopping = true
	for i, p := range r.pending {
		if p == h {
			r.pending = append(r.pending[:i], r.pending[i+1:]...)
			r.mu.Unlock()
			r.forget(h)
			return Report{}, nil
		}
	}
	r.mu.Unlock()
	return h.drain(ctx)
}

// drain ends the subscription and waits until Watermill is done with it.
func (h *Handler) drain(ctx context.Context) (Report, error) {
	ctx, cancel := bounded(ctx, h.r.cfg.DrainTimeout)
	defer cancel()
	h.r.mu.Lock()
	sub := h.opened
	if sub == nil && h.opening != nil {
		h.opening()
	}
	h.r.mu.Unlock()
	var report Report
	var err error
	if sub != nil {
		report, err = sub.drain(ctx)
	}
	if !h.awaitStopped(ctx) || errors.Is(err, ErrDrainDeadline) {
		return report, fmt.Errorf("%w: %s", ErrCloseTimeout, h.name)
	}
	return report, err
}

// awaitStopped reports false when the handler had not stopped grace after ctx.
func (h *Handler) awaitStopped(ctx context.Context) bool {
	select {
	case <-h.stopped:
		return true
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-h.stopped:
		return true
	case <-late.C:
		return false
	}
}

// bounded gives ctx a deadline when it has none.
func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}
