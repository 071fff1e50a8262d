package transport

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/leat-go/leat/router"
)

const (
	// Grace is how long after the deadline a drain may take to end: handlers see
	// the end of their context, the last acks are sent, the rest is handed back.
	// What is not done by then is given up.
	Grace = time.Second

	// AbandonAfter is the part of Grace that handlers get to return in.
	AbandonAfter = 500 * time.Millisecond
)

// Ending is how one subscription ends: asked for by anybody, bounded by whoever
// has the least time, carried out by the subscription alone. Make one with
// [NewEnding]; its methods and channels may be used from many goroutines, those
// of the subscription from its own.
type Ending struct {
	Stopping <-chan struct{} // closed: hand out no more
	Deadline <-chan struct{} // closed: no handler may go on
	Abandon  <-chan struct{} // closed: wait for no handler any more
	Ended    <-chan struct{} // closed: nothing of the subscription is left

	timeout                            time.Duration
	stopping, deadline, abandon, ended chan struct{}

	stopOnce, lateOnce sync.Once
	began              time.Time // written before stopping is closed

	mu    sync.Mutex
	frees []func() // each frees what watches for a deadline
	over  bool

	report router.Report // written before ended is closed
	err    error
}

// NewEnding returns the ending of a subscription; timeout bounds it when nobody
// who asks for it does.
func NewEnding(timeout time.Duration) *Ending {
	e := &Ending{
		timeout: timeout, stopping: make(chan struct{}), deadline: make(chan struct{}),
		abandon: make(chan struct{}), ended: make(chan struct{}),
	}
	e.Stopping, e.Deadline, e.Abandon, e.Ended = e.stopping, e.deadline, e.abandon, e.ended
	return e
}

// Begin begins the drain, and bounds it by ctx, or by the time-out when ctx has
// no deadline. Later calls add their bound: the earliest counts. It does not
// block.
func (e *Ending) Begin(ctx context.Context) {
	cancel := func() {}
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, e.timeout)
	}
	e.stopOnce.Do(func() {
		e.began = time.Now()
		close(e.stopping)
	})
	unwatch := context.AfterFunc(ctx, func() {
		e.lateOnce.Do(func() { close(e.deadline) })
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frees = append(e.frees, func() { unwatch(); cancel() })
	if e.over {
		e.free()
	}
}

// IsStopping reports whether Stopping is closed.
func (e *Ending) IsStopping() bool {
	select {
	case <-e.stopping:
		return true
	default:
		return false
	}
}

// Pause waits for d, and reports false when the drain begins first.
func (e *Ending) Pause(d time.Duration) bool {
	return !e.IsStopping() && Rest(e.stopping, d)
}

// free is called with mu held.
func (e *Ending) free() {
	e.over = true
	for _, f := range e.frees {
		f()
	}
	e.frees = nil
}

// Hard returns a context that ends [Grace] after the deadline. The subscription
// cancels it.
func (e *Ending) Hard() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-e.deadline:
		case <-ctx.Done():
			return
		}
		if Sleep(ctx, Grace) {
			cancel()
		}
	}()
	return ctx, cancel
}

// AwaitHandlers waits until idle is closed: all handlers have returned. At the
// deadline it ends their contexts by kill with the cause
// [router.ErrDrainDeadline], and when that does not help, closes Abandon and
// waits for those who then leave them behind. It reports whether the deadline
// passed.
func (e *Ending) AwaitHandlers(idle <-chan struct{}, kill context.CancelCauseFunc, log *slog.Logger) (late bool) {
	select {
	case <-idle:
		return false
	case <-e.deadline:
	}
	kill(router.ErrDrainDeadline)
	giveUp := time.NewTimer(AbandonAfter)
	defer giveUp.Stop()
	select {
	case <-idle:
	case <-giveUp.C:
		log.Warn("drain: handlers still running after the deadline, their messages are handed back")
		e.GiveUp()
		<-idle
	}
	return true
}

// GiveUp closes Abandon. It is called once, by who does not use AwaitHandlers.
func (e *Ending) GiveUp() { close(e.abandon) }

// Report notes what the drain came to and returns it, and lets go of the bounds.
// It is called once, by the subscription.
func (e *Ending) Report(finished, handedBack int, err error) router.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.free()
	e.report = router.Report{Finished: finished, HandedBack: handedBack, Duration: time.Since(e.began)}
	e.err = err
	return e.report
}

// End closes Ended. It is called once, by the subscription, after Report.
func (e *Ending) End() { close(e.ended) }

// Result waits for the end and returns what Report was given.
func (e *Ending) Result() (router.Report, error) {
	<-e.ended
	return e.report, e.err
}

// EndAll begins all drains, waits for them, and returns the sum of their
// reports, with the time that it took, and their errors joined.
func EndAll(ctx context.Context, endings []*Ending) (router.Report, error) {
	began := time.Now()
	for _, e := range endings {
		e.Begin(ctx)
	}
	var total router.Report
	var errs []error
	for _, e := range endings {
		report, err := e.Result()
		total.Finished += report.Finished
		total.HandedBack += report.HandedBack
		errs = append(errs, err)
	}
	if len(endings) > 0 {
		total.Duration = time.Since(began)
	}
	return total, errors.Join(errs...)
}
