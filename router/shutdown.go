package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Shutdown drains all handlers and mounted buses at once and ends Run. Intake
// stops, Ready turns false, running handlers keep a live context until ctx
// ends; what they finish is acknowledged, the rest is handed back, and nothing
// is dead-lettered because of it. On an idle router it takes milliseconds.
//
// A context without a deadline is given Config.DrainTimeout. When handlers are
// still running at the deadline their contexts end with the cause
// [ErrDrainDeadline], and Shutdown and Run return an error that wraps
// [ErrCloseTimeout] and names them, at most two seconds later, whether they
// return or not. Handlers that never return keep their goroutines.
//
// Before Run it closes the router and returns nil. A second call returns the
// report of the first one and nil. A call during a drain (Run's own, for one)
// waits for that until ctx ends, and returns its result. A handler must not call
// it and wait.
func (r *Router) Shutdown(ctx context.Context) (Report, error) {
	r.mu.Lock()
	now := state(r.state.Load())
	if now == idle {
		r.state.Store(int32(closed))
		close(r.drained)
	}
	r.mu.Unlock()
	if now == idle {
		return Report{}, nil
	}
	if now == closed {
		<-r.drained // or about to be
		return r.report, nil
	}
	r.shutdown(ctx)
	ctx, cancel := bounded(ctx, r.cfg.DrainTimeout)
	defer cancel()
	select {
	case <-r.drained:
		return r.report, r.err
	case <-ctx.Done():
	}
	late := time.NewTimer(2 * grace)
	defer late.Stop()
	select {
	case <-r.drained:
		return r.report, r.err
	case <-late.C:
		return Report{}, ErrCloseTimeout
	}
}

// shutdown starts the drain, once.
func (r *Router) shutdown(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if state(r.state.Load()) >= draining {
		return
	}
	r.state.Store(int32(draining))
	work := r.work()
	go r.drain(ctx, work)
}

// part is one thing to drain; its name is for the error.
type part struct {
	name  string
	drain func(context.Context) (Report, error)
}

// guestName is what a guest calls itself, or its type.
func guestName(m any) string {
	if s, ok := m.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", m)
}

// work lists what to drain. It is called with mu held.
func (r *Router) work() []part {
	var parts []part
	for _, h := range r.handlers {
		if slices.Contains(r.pending, h) {
			delete(r.handlers, h.name)
			close(h.stopped)
			continue
		}
		parts = append(parts, part{h.name, h.drain})
	}
	r.pending = nil
	for _, m := range r.mounted {
		parts = append(parts, part{"mounted " + guestName(m), m.Drain})
	}
	return parts
}

func (r *Router) drain(ctx context.Context, parts []part) {
	start := time.Now()
	r.log.Info("drain started")
	ctx, cancel := bounded(ctx, r.cfg.DrainTimeout)
	defer cancel()

	d := &tally{left: make(map[int]string)}
	var all sync.WaitGroup
	for i, p := range parts {
		d.left[i] = p.name
	}
	for i, p := range parts {
		all.Go(func() {
			report, err := p.drain(ctx)
			d.done(i, report, err)
		})
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		all.Wait()
		d.closed(r.closeWatermill())
		<-r.stopped
		r.release()
	}()
	timely := patient(ctx, over)

	report, err := d.result(timely)
	report.Duration = time.Since(start)
	r.mu.Lock()
	r.report, r.err = report, err
	r.state.Store(int32(closed))
	r.mu.Unlock()
	r.log.Info("drain ended", "finished", report.Finished, "handed_back", report.HandedBack)
	close(r.drained)
}

// closeWatermill comes after everything that adds handlers: closing holds the
// lock that they need, and waits for them.
func (r *Router) closeWatermill() error {
	select {
	case <-r.wm.Running():
	case <-r.stopped:
		return nil // it never ran: its Close would wait for handlers that never started
	}
	r.wiring.Lock()
	defer r.wiring.Unlock()
	return r.wm.Close()
}

// patient waits for over until 1.5 graces after ctx: a drain has one, and
// Watermill's router then ends in no time or not at all.
func patient(ctx context.Context, over <-chan struct{}) bool {
	select {
	case <-over:
		return true
	case <-ctx.Done():
	}
	late := time.NewTimer(grace + grace/2)
	defer late.Stop()
	select {
	case <-over:
		return true
	case <-late.C:
		return false
	}
}

// tally collects what the parts of a drain report.
type tally struct {
	mu     sync.Mutex
	left   map[int]string
	late   []string
	report Report
	errs   []error
}

func (t *tally) done(i int, report Report, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.add(report)
	switch {
	case errors.Is(err, ErrCloseTimeout), errors.Is(err, ErrDrainDeadline):
		t.late = append(t.late, t.left[i])
	case err != nil:
		t.errs = append(t.errs, err)
	}
	delete(t.left, i)
}

// closed takes Watermill's verdict: its only error is a time-out.
func (t *tally) closed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && len(t.late) == 0 {
		t.late = append(t.late, "handlers of the Watermill router")
	}
}

func (t *tally) result(timely bool) (Report, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	late := t.late
	for _, name := range t.left {
		late = append(late, name)
	}
	if !timely && len(late) == 0 {
		late = append(late, "handlers of the Watermill router")
	}
	if len(late) > 0 {
		slices.Sort(late)
		t.errs = append([]error{fmt.Errorf("%w: %s", ErrCloseTimeout, strings.Join(late, ", "))}, t.errs...)
	}
	return t.report, errors.Join(t.errs...)
}
