package eventbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

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

type life struct {
	mu        sync.Mutex
	running   bool // by Run or Mount, for good
	router    *router.Router
	consumer  *message.Handler // what Watermill runs
	draining  bool             // the end of the subscription was asked for
	drainTurn chan struct{}    // held by the Drain that is under way
	drained   router.Report
	broken    string // why consuming ended, or never began, though nobody asked for that
	stopping  bool
	consumes  chan struct{} // closed when Run has subscribed
	done      chan struct{} // closed when the first Shutdown is through
	report    Report        // of that one, written before
}

// claim makes the caller the one that consumes.
func (b *Bus) claim() error {
	b.life.mu.Lock()
	defer b.life.mu.Unlock()
	switch {
	case b.life.stopping:
		return ErrClosed
	case b.cfg.Subscriber == nil && !b.direct:
		return ErrNoSubscriber
	case b.life.running:
		return ErrRunning
	}
	b.life.running = true
	return nil
}

// Run consumes until ctx ends or Shutdown is called, then drains within
// DrainTimeout and returns: nil after a clean stop, an error that wraps
// router.ErrCloseTimeout when handlers outlived the deadline,
// [ErrSubscriptionEnded] when the Subscriber went away by itself, any other
// error when consuming could not start. Subscribe the handlers first: an event
// that comes before its handler is there is skipped, and does not come again.
//
// A bus runs once; publishing goes on until Shutdown, which a program calls
// last. In memory there is nothing to consume: Run waits.
func (b *Bus) Run(ctx context.Context) error {
	if err := b.claim(); err != nil {
		return err
	}
	if b.direct {
		close(b.life.consumes)
		select {
		case <-ctx.Done():
		case <-b.life.done:
		}
		return nil
	}
	r, err := router.New(router.Config{DrainTimeout: b.cfg.DrainTimeout, Logger: b.log})
	if err != nil {
		return err
	}
	guest := mounted{b, b.sub, b.take}
	if b.owned {
		c := newCalled(b)
		guest.sub, guest.handle = c, c.handle
	}
	if err := r.Mount(guest); err != nil {
		return err
	}
	b.life.mu.Lock()
	if b.life.stopping {
		b.life.mu.Unlock()
		return ErrClosed
	}
	b.life.router = r
	b.life.mu.Unlock()
	over, lost := make(chan struct{}), make(chan bool, 1)
	go func() { lost <- b.watch(r, over) }()
	err = r.Run(ctx)
	close(over)
	if <-lost {
		err = errors.Join(ErrSubscriptionEnded, err)
	} else if err != nil {
		b.life.mu.Lock()
		if !ended(b.life.consumes) && !b.life.stopping && ctx.Err() == nil {
			b.life.broken = "consuming could not start"
		}
		b.life.mu.Unlock()
	}
	return err
}

// watch says when the bus consumes, and ends the router when the subscription
// ended without having been asked: Run would go on and consume nothing.
func (b *Bus) watch(r *router.Router, over <-chan struct{}) (lost bool) {
	select {
	case <-r.Running():
		b.consuming()
		close(b.life.consumes)
	case <-over:
		return false
	}
	b.life.mu.Lock()
	consumer := b.life.consumer
	b.life.mu.Unlock()
	select {
	case <-consumer.Stopped():
	case <-over:
		return false
	}
	if lost = b.noteLoss(); lost {
		b.log.Error("subscription ended by itself, the bus stops", slog.String("topic", b.cfg.Topic), slog.String("group", b.cfg.Group))
		_, _ = r.Shutdown(context.Background()) // Run returns its error
	}
	return lost
}

// noteLoss remembers, and reports, that the subscription has ended though nobody
// asked for that.
func (b *Bus) noteLoss() bool {
	b.life.mu.Lock()
	defer b.life.mu.Unlock()
	if b.life.draining || b.life.stopping || b.life.consumer == nil || !ended(b.life.consumer.Stopped()) {
		return false
	}
	b.life.broken = b.lost()
	return true
}

// Running is closed when [Bus.Run] has subscribed: from then on the bus
// consumes. It stays open when Run fails, and for a bus that is mounted, whose
// router tells.
func (b *Bus) Running() <-chan struct{} { return b.life.consumes }

// Mount makes the bus's consumer half a handler of a Watermill router that the
// caller owns, runs and closes. The handler is named leat.{topic}.{group}; a
// router can have one of that name, a second is refused with [ErrDuplicate].
// Mount before the router runs, or call its RunHandlers afterwards. Instead of
// [Bus.Run], once.
//
// Closing the router drains the bus, as long as the router's CloseTimeout
// allows; [Bus.Shutdown] reports it. Closing it also closes the Subscribers of the
// router's other handlers: they must not share the bus's, unless through
// router.Decorate; or call [Bus.Drain] first.
func (b *Bus) Mount(r *message.Router) error {
	if r == nil {
		return errors.New("eventbus: mount: the router is nil")
	}
	if err := b.claim(); err != nil {
		return err
	}
	if b.direct {
		return nil
	}
	err := mounted{b, guest{b}, b.take}.Mount(r)
	if err != nil {
		b.life.mu.Lock()
		b.life.running = false
		b.life.mu.Unlock()
	}
	return err
}

// mounted is the bus as the router's guest.
type mounted struct {
	bus    *Bus
	sub    message.Subscriber
	handle message.NoPublishHandlerFunc
}

// String names the bus in the router's errors and log.
func (m mounted) String() string { return "leat." + m.bus.cfg.Topic + "." + m.bus.cfg.Group }

// Mount adds the handler.
func (m mounted) Mount(r *message.Router) (err error) {
	b := m.bus
	name := m.String()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case message.DuplicateHandlerNameError:
			err = fmt.Errorf("eventbus: mount: %w: the router has a handler %q: give the second bus another topic or group, or a router of its own", ErrDuplicate, name)
		default:
			panic(p)
		}
	}()
	h := r.AddConsumerHandler(name, b.cfg.Topic, m.sub, m.handle)
	b.life.mu.Lock()
	b.life.consumer = h
	b.life.mu.Unlock()
	return nil
}

// guest is the bus's subscriber on a stock router, which ends message contexts
// before it closes: here both begin the bus's own drain, and its report is kept
// for Shutdown.
type guest struct{ bus *Bus }

// Subscribe subscribes with a context that the router cannot end.
func (g guest) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out, err := g.bus.sub.Subscribe(context.WithoutCancel(ctx), topic)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = g.Close() })
	g.bus.consuming()
	return out, nil
}

// Close drains, within the bus's DrainTimeout. The router calls it too when the
// handler has ended by itself.
func (g guest) Close() error {
	g.bus.noteLoss()
	ctx, cancel := context.WithTimeout(context.Background(), g.bus.cfg.DrainTimeout)
	defer cancel()
	_, err := g.bus.Drain(ctx)
	return err
}

// Drain stops the consumer half.
func (m mounted) Drain(ctx context.Context) (router.Report, error) { return m.bus.Drain(ctx) }

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
