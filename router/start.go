package router

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

// register takes the name and starts the handler when the router runs.
func (r *Router) register(h *Handler) error {
	r.mu.Lock()
	s := state(r.state.Load())
	err := error(nil)
	if s == draining || s == closed {
		err = ErrClosed
	} else if _, taken := r.handlers[h.name]; taken || h.name == keepAliveName {
		err = ErrDuplicateHandler
	}
	if err != nil {
		r.mu.Unlock()
		return &HandlerError{h.name, err}
	}
	r.handlers[h.name] = h
	if s != running {
		r.pending = append(r.pending, h)
	}
	r.mu.Unlock()
	if s == running {
		return r.start(r.base, h)
	}
	return nil
}

// start subscribes the handler and gives it to Watermill. When it fails the
// handler is gone.
func (r *Router) start(ctx context.Context, h *Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	h.opening = cancel
	r.mu.Unlock()
	if r.isStopped(h) {
		return r.startFailed(h, nil, nil)
	}
	sub, err := open(ctx, h.sub, h.topic, r.closedFromOutside)
	if err != nil {
		return r.startFailed(h, nil, err)
	}

	r.wiring.Lock()
	defer r.wiring.Unlock()
	r.mu.Lock()
	h.opened = sub
	r.mu.Unlock()
	if r.isStopped(h) {
		return r.startFailed(h, sub, nil)
	}
	wmh, err := r.wire(h, sub)
	if err != nil {
		return r.startFailed(h, sub, err)
	}
	go r.watch(h, wmh)
	return nil
}

// startFailed undoes a start. A handler that was stopped meanwhile is no
// failure; one of a router that was, is.
func (r *Router) startFailed(h *Handler, sub *opened, err error) error {
	if sub != nil {
		_, drainErr := sub.drain(r.base)
		err = errors.Join(err, drainErr)
	}
	r.mu.Lock()
	stopped, over := h.stopping, state(r.state.Load()) > running
	r.mu.Unlock()
	r.forget(h)
	switch {
	case over:
		return &HandlerError{h.name, ErrClosed}
	case stopped:
		return nil
	}
	return &HandlerError{h.name, err}
}

// wire adds the handler to Watermill's router and runs it there. Watermill
// panics on a name that was taken directly on its router.
func (r *Router) wire(h *Handler, sub *opened) (wmh *message.Handler, err error) {
	defer recoverDuplicate(&err)
	wmh = h.add(sub)
	return wmh, r.wm.RunHandlers(r.base)
}

func recoverDuplicate(err *error) {
	switch p := recover().(type) {
	case nil:
	case message.DuplicateHandlerNameError:
		*err = fmt.Errorf("%w: %q", ErrDuplicateHandler, p.HandlerName)
	default:
		panic(p)
	}
}

// watch waits until Watermill is done with the handler, and says so when
// nobody had asked for it.
func (r *Router) watch(h *Handler, wmh *message.Handler) {
	<-wmh.Stopped()
	if !r.isStopped(h) {
		r.lost.Store(&h.name)
		r.log.Error("handler ended: its subscription was closed by the subscriber", "handler", h.name, "topic", h.topic)
	}
	h.opened.cancel()
	r.forget(h)
}

func (r *Router) forget(h *Handler) {
	r.mu.Lock()
	delete(r.handlers, h.name)
	r.mu.Unlock()
	close(h.stopped)
}

// isStopped reports whether the handler has to stop or has been.
func (r *Router) isStopped(h *Handler) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return h.stopping || state(r.state.Load()) > running
}
