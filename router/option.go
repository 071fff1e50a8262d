package router

import (
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
)

// HandlerOption is an extra of one handler, given when it is added.
type HandlerOption interface{ apply(*handlerOptions) }

type handlerOptions struct {
	middleware []message.HandlerMiddleware
	drain      DrainConfig
	drainSet   bool // Concurrency or Key was given
	errs       []error
}

type handlerOption func(*handlerOptions)

func (o handlerOption) apply(to *handlerOptions) { o(to) }

// WithMiddleware wraps this handler only, inside the router's middleware. The
// first is the outermost, as in [Router.AddMiddleware].
func WithMiddleware(m ...message.HandlerMiddleware) HandlerOption {
	return handlerOption(func(o *handlerOptions) {
		for _, mw := range m {
			if mw == nil {
				o.errs = append(o.errs, errors.New("WithMiddleware: the middleware must not be nil"))
				continue
			}
			o.middleware = append(o.middleware, mw)
		}
	})
}

// WithConcurrency lets n messages of this handler run at a time: those of one
// key still one at a time and in order. See DrainConfig.Concurrency. It is
// refused for a subscriber that drains by itself: that has its own.
func WithConcurrency(n int) HandlerOption {
	return handlerOption(func(o *handlerOptions) {
		if n < 1 {
			o.errs = append(o.errs, errors.New("WithConcurrency: must be at least 1"))
		}
		o.drain.Concurrency, o.drainSet = max(n, 0), true
	})
}

// WithKey tells what orders this handler's messages. See DrainConfig.Key. It is
// refused for a subscriber that drains by itself: that has its own.
func WithKey(key func(*message.Message) string) HandlerOption {
	return handlerOption(func(o *handlerOptions) {
		if key == nil {
			o.errs = append(o.errs, errors.New("WithKey: the function must not be nil"))
		}
		o.drain.Key, o.drainSet = key, true
	})
}
