package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Router is a Watermill router whose shutdown drains. It hosts plain Watermill
// handlers, on any Pub/Sub, and buses ([Router.Mount]) side by side. Its zero
// value is not usable: see [New].
//
// All methods may be called from many goroutines.
type Router struct {
	cfg Config
	log *slog.Logger
	wm  *message.Router

	state atomic.Int32           // written under mu
	lost  atomic.Pointer[string] // the handler whose subscription ended by itself

	guests atomic.Pointer[[]Reporter] // what is mounted and has a health; written under wiring

	mu       sync.Mutex
	handlers map[string]*Handler
	pending  []*Handler // added before Run
	mounted  []drains
	failed   []error // subscriptions of mounted handlers that failed to start

	// wiring serialises what changes the running Watermill router. A mounted
	// bus subscribes under it, so nothing that must not block takes it.
	wiring sync.Mutex

	base    context.Context //nolint:containedctx // of all that Watermill runs: its life is the router's
	release context.CancelFunc
	running chan struct{}
	stopped chan struct{} // Watermill's Run has returned

	drained chan struct{} // closed when report and err are final
	report  Report
	err     error
}

type state int32

const (
	idle state = iota
	starting
	running
	draining
	closed
)

// New builds a router; nothing runs before [Router.Run].
func New(cfg Config) (*Router, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	// Watermill's own time-out only has to be longer than the drain that runs
	// in it when something else closes its router, such as a signal plugin.
	wm, err := message.NewRouter(message.RouterConfig{CloseTimeout: cfg.DrainTimeout + 2*grace}, ownLogger(cfg.Logger))
	if err != nil {
		return nil, fmt.Errorf("router: new: %w", err)
	}
	r := &Router{
		cfg:      cfg,
		log:      cfg.Logger,
		wm:       wm,
		handlers: make(map[string]*Handler),
		running:  make(chan struct{}),
		stopped:  make(chan struct{}),
		drained:  make(chan struct{}),
	}
	wm.AddMiddleware(nackOnExit)
	wm.AddSubscriberDecorators(func(s message.Subscriber) (message.Subscriber, error) {
		return &forgiving{s, r.subscribeFailed}, nil
	})
	wm.AddPublisherDecorators(func(p message.Publisher) (message.Publisher, error) {
		return unclosed{p}, nil
	})
	wm.AddConsumerHandler(keepAliveName, "", &keepAlive{closing: make(chan struct{}), closed: r.closedFromOutside}, func(*message.Message) error { return nil })
	return r, nil
}

// AddMiddleware adds Watermill middleware around every handler; what is added
// first is the outermost. After Run it returns [ErrRunning]: Watermill would
// race. Watermill's rule that a constructor sees each handler once holds, and
// one more: the router keeps an internal handler that never gets a message.
func (r *Router) AddMiddleware(m ...message.HandlerMiddleware) error {
	for _, mw := range m {
		if mw == nil {
			return errors.New("router: add middleware: must not be nil")
		}
	}
	return r.beforeRun(func() { r.wm.AddMiddleware(m...) })
}

// AddPlugin adds Watermill plugins, which Run calls first. After Run it
// returns [ErrRunning]. A plugin that closes Watermill's router, as its
// SignalsHandler does, starts a drain within Config.DrainTimeout.
func (r *Router) AddPlugin(p ...message.RouterPlugin) error {
	for _, plugin := range p {
		if plugin == nil {
			return errors.New("router: add plugin: must not be nil")
		}
	}
	return r.beforeRun(func() { r.wm.AddPlugin(p...) })
}

func (r *Router) beforeRun(act func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch state(r.state.Load()) {
	case idle:
		act()
		return nil
	case closed, draining:
		return ErrClosed
	default:
		return ErrRunning
	}
}

// Watermill returns the router underneath, for what has no method here.
// Handlers that are added to it directly are Watermill's own: give them a
// subscriber from [Decorate], or their shutdown does not drain. Closing it
// drains the router within Config.DrainTimeout.
func (r *Router) Watermill() *message.Router { return r.wm }

// Running is closed when all handlers that were added before Run are
// subscribed. It stays open when Run fails.
func (r *Router) Running() <-chan struct{} { return r.running }

// Run subscribes all handlers and blocks until the router has shut down: after
// ctx ended, after [Router.Shutdown], or after somebody closed the Watermill
// router. When ctx ends the router drains within Config.DrainTimeout; message
// contexts do not end with ctx, but carry its values.
//
// It returns nil when all handlers finished, [ErrCloseTimeout] when not, and
// any error that kept it from starting; then the router is closed as well. A
// second Run returns [ErrRunning], one after Shutdown [ErrClosed].
//
// A router whose last handler has stopped goes on and takes new ones. It can
// be run without any.
func (r *Router) Run(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	ran := make(chan error, 1)
	go func() {
		defer close(r.stopped)
		ran <- r.wm.Run(r.base)
	}()
	select {
	case <-r.wm.Running():
	case err := <-ran:
		return r.abort(fmt.Errorf("router: run: %w", err))
	}
	err := r.startErrors() // first: with them there is nothing to be called running
	if err == nil {
		err = r.startPending(ctx)
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			return r.abort(err)
		}
		// Not a failure to start: somebody stopped the router meanwhile.
	}
	select {
	case <-ctx.Done():
	case <-r.drained:
	case <-r.stopped:
	}
	r.shutdown(context.WithoutCancel(ctx))
	<-r.drained
	return r.err
}

func (r *Router) begin(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch state(r.state.Load()) {
	case starting, running:
		return ErrRunning
	case draining, closed:
		return ErrClosed
	case idle:
	}
	r.base, r.release = context.WithCancel(context.WithoutCancel(ctx))
	r.state.Store(int32(starting))
	return nil
}

// startPending starts the handlers that were added before Run, and those that
// are added meanwhile.
func (r *Router) startPending(ctx context.Context) error {
	for {
		r.mu.Lock()
		if state(r.state.Load()) != starting {
			r.mu.Unlock()
			return ErrClosed
		}
		if len(r.pending) == 0 {
			r.state.Store(int32(running))
			close(r.running)
			names := slices.Sorted(maps.Keys(r.handlers))
			for _, m := range r.mounted {
				names = append(names, guestName(m))
			}
			r.mu.Unlock()
			r.log.Info("router running", "handlers", strings.Join(names, ", "))
			return nil
		}
		h := r.pending[0]
		r.pending = r.pending[1:]
		r.mu.Unlock()
		if err := r.start(ctx, h); err != nil {
			return err
		}
	}
}

// abort ends a router that could not start.
func (r *Router) abort(cause error) error {
	r.shutdown(r.base)
	<-r.drained
	if r.err != nil {
		return errors.Join(cause, r.err)
	}
	return cause
}

// closedFromOutside begins the drain when something closes Watermill's router;
// when that was the drain itself it does nothing.
func (r *Router) closedFromOutside() { r.shutdown(context.Background()) }

func (r *Router) subscribeFailed(err error) {
	r.log.Error("subscribe failed", "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, err)
}

// startErrors returns the failed subscriptions since the last call.
func (r *Router) startErrors() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := r.failed
	r.failed = nil
	return errors.Join(errs...)
}
