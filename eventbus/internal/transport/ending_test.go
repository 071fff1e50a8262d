package transport_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/router"
)

// closedAfter returns how long it takes until c is closed.
func closedAfter(c <-chan struct{}) time.Duration {
	began := time.Now()
	<-c
	return time.Since(began)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// The earliest bound counts, whoever set it; without one, the time-out does.
func TestEnding_bounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bounds []time.Duration // 0: none
		want   time.Duration
	}{
		"none":            {[]time.Duration{0}, time.Minute},
		"shorter":         {[]time.Duration{time.Second}, time.Second},
		"longer":          {[]time.Duration{time.Hour}, time.Hour},
		"a shorter later": {[]time.Duration{0, time.Hour, 2 * time.Second}, 2 * time.Second},
		"a longer later":  {[]time.Duration{time.Second, 0}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := transport.NewEnding(time.Minute)
				if isClosed(e.Stopping) {
					t.Error("stopping before the begin")
				}
				for _, d := range c.bounds {
					ctx := t.Context()
					if d > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, d)
						defer cancel()
					}
					e.Begin(ctx)
					if !isClosed(e.Stopping) {
						t.Error("begun, and not stopping")
					}
				}
				if got := closedAfter(e.Deadline); got != c.want {
					t.Errorf("the deadline came after %v, want %v", got, c.want)
				}
				e.Report(0, 0, nil)
			})
		})
	}
}

// What watches for a deadline goes with the report, and what comes behind it
// leaves nothing: synctest fails for a goroutine that stays.
func TestEnding_report(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := transport.NewEnding(time.Minute)
		e.Begin(t.Context())
		<-time.After(3 * time.Second)
		failed := errors.New("late")
		want := router.Report{Finished: 2, HandedBack: 5, Duration: 3 * time.Second}
		if got := e.Report(2, 5, failed); got != want {
			t.Errorf("report %+v, want %+v", got, want)
		}
		e.Begin(t.Context())
		<-time.After(time.Hour)
		if isClosed(e.Deadline) {
			t.Error("the deadline came after the end")
		}
		if isClosed(e.Ended) {
			t.Error("ended before End")
		}
		go e.End()
		if got, err := e.Result(); got != want || !errors.Is(err, failed) {
			t.Errorf("result %+v, %v, want %+v, %v", got, err, want, failed)
		}
		if !isClosed(e.Ended) {
			t.Error("not ended")
		}
	})
}

func TestEnding_hard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := transport.NewEnding(2 * time.Second)
		hard, cancel := e.Hard()
		defer cancel()
		e.Begin(t.Context())
		if got := closedAfter(hard.Done()); got != 2*time.Second+transport.Grace {
			t.Errorf("hard ended after %v, want %v behind the deadline", got, transport.Grace)
		}
		e.Report(0, 0, nil)
	})
}

func TestEnding_AwaitHandlers(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	for name, c := range map[string]struct {
		handlers func(live context.Context, abandon <-chan struct{})
		took     time.Duration
		late     bool
		cause    error
		log      []string
	}{
		"in time": {
			handlers: func(context.Context, <-chan struct{}) { <-time.After(time.Second) },
			took:     time.Second,
		},
		"obedient": {
			handlers: func(live context.Context, _ <-chan struct{}) { <-live.Done() },
			took:     timeout, late: true, cause: router.ErrDrainDeadline,
		},
		"stuck": {
			handlers: func(_ context.Context, abandon <-chan struct{}) { <-abandon },
			took:     timeout + transport.AbandonAfter, late: true, cause: router.ErrDrainDeadline,
			log: []string{`level=WARN msg="drain: handlers still running after the deadline, their messages are handed back"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var book logbook
				e := transport.NewEnding(timeout)
				live, kill := context.WithCancelCause(t.Context())
				defer kill(nil)
				idle := make(chan struct{})
				go func() {
					defer close(idle)
					c.handlers(live, e.Abandon)
				}()
				began := time.Now()
				e.Begin(t.Context())
				late := e.AwaitHandlers(idle, kill, book.logger())
				if got := time.Since(began); late != c.late || got != c.took {
					t.Errorf("late %t after %v, want %t after %v", late, got, c.late, c.took)
				}
				if got := context.Cause(live); !errors.Is(got, c.cause) || (got == nil) != (c.cause == nil) {
					t.Errorf("the handlers' contexts ended with %v, want %v", got, c.cause)
				}
				if !isClosed(idle) {
					t.Error("somebody is left behind")
				}
				if got := book.all(); !slices.Equal(got, c.log) {
					t.Errorf("log %q, want %q", got, c.log)
				}
				e.Report(0, 0, nil)
			})
		})
	}
}

func TestEndAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if got, err := transport.EndAll(t.Context(), nil); got != (router.Report{}) || err != nil {
			t.Errorf("nothing to end: %+v, %v", got, err)
		}
		failed := errors.New("late")
		var endings []*transport.Ending
		for i := range 3 {
			e := transport.NewEnding(time.Minute)
			endings = append(endings, e)
			go func() {
				<-e.Stopping
				<-time.After(time.Duration(i+1) * time.Second)
				var err error
				if i == 1 {
					err = failed
				}
				e.Report(i, 10*i, err)
				e.End()
			}()
		}
		want := router.Report{Finished: 3, HandedBack: 30, Duration: 3 * time.Second} // at the same time, not in turn
		if got, err := transport.EndAll(t.Context(), endings); got != want || !errors.Is(err, failed) {
			t.Errorf("got %+v, %v, want %+v, %v", got, err, want, failed)
		}
	})
}
