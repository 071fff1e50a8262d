package eventbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/leat-go/leat/router"
)

// Report tells what a shutdown did.
type Report struct {
	// Finished counts what was under way when the drain began and was
	// finished: deliveries; in memory, publishes that no handler made.
	Finished int
	// HandedBack counts deliveries that were not finished by the deadline:
	// they stay with the broker and come again. In memory, publishes that
	// were cut short: their callers were told.
	HandedBack int
	// Duration is how long Shutdown took: next to nothing after Run has returned,
	// which drains before.
	Duration time.Duration
}

// Drain ends the consumer half and leaves the publisher's open: no new
// deliveries, running handlers finish with a live context until ctx ends, what
// is not finished then goes back. It is what the owner of a router that the bus
// is mounted on may call before closing it; router.Router does so by itself. A
// second call reports the same. In memory there is nothing to drain.
func (b *Bus) Drain(ctx context.Context) (router.Report, error) {
	b.life.mu.Lock()
	b.life.draining = true
	b.life.mu.Unlock()
	if b.sub == nil {
		return router.Report{}, nil
	}
	select { // one at a time: whoever comes second finds the first one's report
	case b.life.drainTurn <- struct{}{}:
		defer func() { <-b.life.drainTurn }()
	case <-ctx.Done():
		return b.lastDrain(), fmt.Errorf("eventbus: drain: another one is under way: %w", context.Cause(ctx))
	}
	report, err := b.sub.Drain(ctx)
	b.life.mu.Lock()
	defer b.life.mu.Unlock()
	if report.Finished+report.HandedBack > 0 || b.life.drained.Duration == 0 {
		b.life.drained = report
	}
	return b.life.drained, err
}

// Shutdown ends the bus: it stops the intake, lets running handlers finish
// with a live context until ctx ends, acks what finished, hands back what did
// not, waits for publishes under way, background ones included, and closes
// what the bus opened. Without a deadline in ctx it takes DrainTimeout at
// most. Handlers can publish until they are done.
//
// It returns the counts, and an error that wraps router.ErrCloseTimeout when
// something outlived the deadline.
// A second call waits for the first one, as long as its own ctx, and returns its
// report and nil; before Run there is nothing to drain. It must not be called by a handler.
func (b *Bus) Shutdown(ctx context.Context) (Report, error) {
	b.life.mu.Lock()
	if b.life.stopping {
		b.life.mu.Unlock()
		select {
		case <-b.life.done:
		case <-ctx.Done():
			if !ended(b.life.done) {
				return Report{}, context.Cause(ctx)
			}
		}
		return b.life.report, nil
	}
	b.life.stopping = true
	r, running := b.life.router, b.life.running
	b.life.mu.Unlock()
	defer close(b.life.done)
	report, err := b.shutDown(ctx, r, running)
	b.life.report = report
	return report, err
}

// shutDown is the first Shutdown.
func (b *Bus) shutDown(ctx context.Context, r *router.Router, running bool) (Report, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.cfg.DrainTimeout)
		defer cancel()
	}
	start := time.Now()
	var report Report
	var errs []error
	switch {
	case b.direct:
		b.gate.move(draining)
	case running:
		var drained router.Report
		var err error
		if r != nil {
			drained, err = r.Shutdown(ctx)
			if d := b.lastDrain(); drained.Finished+drained.HandedBack == 0 {
				drained = d
			}
		} else {
			drained, err = b.Drain(ctx)
			if errors.Is(err, router.ErrDrainDeadline) {
				err = fmt.Errorf("eventbus: shutdown: %w: %w", router.ErrCloseTimeout, err)
			}
		}
		report.Finished, report.HandedBack = drained.Finished, drained.HandedBack
		errs = append(errs, err)
	default:
		b.neverRan()
	}
	finished, left := b.finishPublishing(ctx)
	if b.direct {
		report.Finished, report.HandedBack = finished, left
	}
	if left > 0 {
		errs = append(errs, fmt.Errorf("eventbus: shutdown: %w: %d publishes were cut short", router.ErrCloseTimeout, left))
	}
	errs = append(errs, b.unobserve())
	if b.cfg.OnClose != nil {
		errs = append(errs, b.cfg.OnClose(ctx))
	}
	report.Duration = time.Since(start)
	err := errors.Join(errs...)
	b.log.Info("bus shut down", slog.String("topic", b.cfg.Topic), slog.String("group", b.cfg.Group), slog.Int("finished", report.Finished),
		slog.Int("handed_back", report.HandedBack), slog.Duration("took", report.Duration), slog.Any("error", err))
	return report, err
}

// killGrace is how long publishes whose context was just ended are waited for.
const killGrace = 500 * time.Millisecond

// finishPublishing waits for the publishes under way, then ends what is left,
// and returns how many there were of both.
func (b *Bus) finishPublishing(ctx context.Context) (finished, left int) {
	if b.direct { // nested ones may still come; a moment without any is the end
		left = b.gate.wait(ctx)
	}
	finished = b.gate.finished()
	if left > 0 {
		// Contexts end before the gate shuts: a handler that is refused while its
		// context lives would take that for a failure of its own. What is cut short
		// here counts as left, however fast it then ends.
		b.killNow(router.ErrDrainDeadline)
		b.gate.move(shut)
	} else {
		b.gate.move(shut)
		left = b.gate.wait(ctx)
		finished = b.gate.finished()
		b.killNow(router.ErrDrainDeadline)
	}
	if left > 0 {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), killGrace)
		defer cancel()
		b.gate.wait(grace)
	}
	return finished, left
}

func (b *Bus) lastDrain() router.Report {
	b.life.mu.Lock()
	defer b.life.mu.Unlock()
	return b.life.drained
}

// Draining reports whether the end of consuming was asked for, by Drain, by
// Shutdown, or by the router that the bus is mounted on: a readiness probe says
// no from then on. It never blocks.
func (b *Bus) Draining() bool {
	b.life.mu.Lock()
	defer b.life.mu.Unlock()
	return b.life.draining || b.life.stopping
}
