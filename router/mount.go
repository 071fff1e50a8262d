package router

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Mounter is what puts its own handlers on a Watermill router: eventbus.Bus
// does. When it has a method
//
//	Drain(ctx context.Context) (Report, error)
//
// the router's shutdown calls it, with the semantics of [Drainer.Drain], and
// waits for it; otherwise its handlers are Watermill's own and end as they do
// there. One that is a [Reporter] counts in the router's health.
type Mounter interface {
	// Mount adds the handlers to a router that may be running, and starts none.
	Mount(r *message.Router) error
}

type drains interface {
	Drain(ctx context.Context) (Report, error)
}

// Mount lets m add its handlers. Before Run they wait for it; afterwards they
// run at once, and Mount returns the error of a subscription that failed. The
// router drains m at its shutdown but does not close it.
//
// When m's Mount fails half way, what it had added stays: Watermill cannot
// remove handlers; they end as Watermill's own. m is not the router's to drain
// then: it may be at work elsewhere. A name that is taken is
// [ErrDuplicateHandler].
func (r *Router) Mount(m Mounter) error {
	if err := r.mount(m); err != nil {
		return fmt.Errorf("router: mount: %w", err)
	}
	return nil
}

func (r *Router) mount(m Mounter) error {
	if m == nil {
		return errors.New("the mounter must not be nil")
	}
	r.wiring.Lock()
	defer r.wiring.Unlock()
	r.mu.Lock()
	now := state(r.state.Load())
	if now > running {
		r.mu.Unlock()
		return ErrClosed
	}
	d, drainable := m.(drains)
	if drainable {
		r.mounted = append(r.mounted, d) // before its handlers exist: no shutdown overlooks them
	}
	r.mu.Unlock()

	err := mountOn(r.wm, m)
	if err != nil && drainable {
		r.mu.Lock()
		r.mounted = r.mounted[:len(r.mounted)-1] // under wiring: it is the last
		r.mu.Unlock()
	}
	if err != nil {
		return err
	}
	if guest, ok := m.(Reporter); ok {
		var all []Reporter
		if now := r.guests.Load(); now != nil {
			all = slices.Clone(*now)
		}
		all = append(all, guest)
		r.guests.Store(&all)
	}
	if now == idle {
		return nil
	}
	select {
	case <-r.wm.Running():
	case <-r.stopped:
		return ErrClosed
	}
	if err := r.wm.RunHandlers(r.base); err != nil {
		return err
	}
	return r.startErrors()
}

// mountOn turns Watermill's panic on a taken name into an error.
func mountOn(wm *message.Router, m Mounter) (err error) {
	defer recoverDuplicate(&err)
	return m.Mount(wm)
}
