package membus_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
)

// apart publishes on a goroutine that a handler may end, and reports whether
// Publish returned.
func apart(publish func() error) (returned bool, err error) {
	var over sync.WaitGroup
	over.Go(func() {
		err = publish()
		returned = true
	})
	over.Wait()
	return returned, err
}

func twice(c *membus.Config) {
	c.Retry = middleware.Retry{MaxRetries: 2, BaseDelay: time.Millisecond}
}

func TestGoexit_OfTheOnlyHandlerIsAFailedAttempt(t *testing.T) {
	bus := open(t, twice)
	runs := 0
	on(t, bus, "h", func(context.Context, OrderCreated) error {
		if runs++; runs < 3 {
			runtime.Goexit()
		}
		return nil
	})
	if returned, _ := apart(func() error { return bus.Publish(context.Background(), created("1")) }); returned {
		t.Error("Publish returned to a goroutine that has ended")
	}
	s := bus.Stats()
	if runs != 3 || s.EventsPublished != 1 || s.EventsProcessedSuccess != 1 || s.HandlerErrors != 2 || s.HandlerSuccesses != 1 || s.Retries != 2 {
		t.Errorf("%d runs, stats %+v", runs, s)
	}
	if h := bus.HandlerStats()[0]; h.Invoked != 3 || h.Errors != 2 || h.Retries != 2 {
		t.Errorf("%+v", h)
	}
}

// From the second time on the publisher's goroutine is not the handler's.
func TestGoexit_EndsOnePublisherOnly(t *testing.T) {
	bus := open(t, twice)
	on(t, bus, "h", func(context.Context, OrderCreated) error { runtime.Goexit(); return nil })
	if returned, _ := apart(func() error { return bus.Publish(context.Background(), created("1")) }); returned {
		t.Error("the first publisher survived")
	}
	if returned, err := apart(func() error { return bus.Publish(context.Background(), created("2")) }); !returned || err != nil {
		t.Errorf("the second one: returned %v, %v", returned, err)
	}
	n := 0
	for l, err := range bus.DeadLetters().List(t.Context(), dlq.Query{}) {
		n++
		if err != nil || l.Attempts != 3 || len(l.Handlers) != 1 || l.Handlers[0] != "h" || l.ErrorType != "*middleware.GoexitError" {
			t.Errorf("%+v, %v", l, err)
		}
	}
	if s := bus.Stats(); n != 2 || s.EventsProcessedFailed != 2 || s.HandlersInvoked != 6 || s.HandlerErrors != 6 || s.MessagesSentToDLQ != 2 {
		t.Errorf("%d letters, stats %+v", n, s)
	}
}

// At any place among the handlers of an event: the others run once, and what
// they came to is kept.
func TestGoexit_LeavesTheOtherHandlersAlone(t *testing.T) {
	for _, name := range []string{"a", "b", "c"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := open(t, twice)
				var runs [3]atomic.Int32
				for i, h := range []string{"a", "b", "c"} {
					on(t, bus, h, func(context.Context, OrderCreated) error {
						if runs[i].Add(1); h == name {
							runtime.Goexit()
						}
						time.Sleep(time.Second) //nolint:forbidigo // the clock of synctest
						if h == "c" || name == "c" && h == "b" {
							return middleware.Permanent(errors.New("fails besides"))
						}
						return nil
					})
				}
				_, _ = apart(func() error { return bus.Publish(context.Background(), created("1")) })
				for i, h := range []string{"a", "b", "c"} {
					want := int32(1)
					if h == name {
						want = 3
					}
					if got := runs[i].Load(); got != want {
						t.Errorf("%s ran %d times, want %d", h, got, want)
					}
				}
				want := name + ",c"
				if name == "c" {
					want = "b,c"
				}
				if l := only(t, bus); strings.Join(l.Handlers, ",") != want {
					t.Errorf("the letter names %v, want %s", l.Handlers, want)
				}
			})
		})
	}
}

func TestGoexit_TheRestOfTheBatchIsHandled(t *testing.T) {
	bus := open(t, twice)
	var seen []string
	on(t, bus, "h", func(_ context.Context, e OrderCreated) error {
		if seen = append(seen, e.AggregateID); len(seen) == 1 {
			runtime.Goexit()
		}
		return nil
	})
	if err := bus.PublishInBackground(t.Context(), created("1"), created("2"), created("3")); err != nil {
		t.Fatal(err)
	}
	report, err := bus.Shutdown(t.Context())
	if err != nil || report.HandedBack != 0 || strings.Join(seen, "") != "1123" {
		t.Errorf("%+v, %v; handled %v, want 1 twice, and 2 and 3", report, err, seen)
	}
	if s := bus.Stats(); s.EventsPublished != 3 || s.EventsProcessedSuccess != 3 || s.BackgroundTasksActive != 0 {
		t.Errorf("stats %+v", s)
	}
}

// Wherever else a user's code stands: what panics there is buried, or logged and
// left, and so is what ends its goroutine there.
func TestGoexit_OfOtherCode(t *testing.T) {
	exit := func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			runtime.Goexit()
			return h(m)
		}
	}
	for name, tc := range map[string]struct {
		config  func(*membus.Config)
		handler eventbus.HandlerFunc
		filter  bool
		letters int64
	}{
		"message middleware": {config: func(c *membus.Config) { c.Middleware = []message.HandlerMiddleware{exit} }, letters: 1},
		"handler middleware": {config: func(c *membus.Config) { c.HandlerMiddleware = []message.HandlerMiddleware{exit} }, letters: 1},
		"OnRetry": {config: func(c *membus.Config) {
			c.Retry.OnRetry = func(*message.Message, middleware.RetryInfo) { runtime.Goexit() }
		}, handler: func(context.Context, eventbus.Event) error { return errors.New("no") }, letters: 1},
		"filter": {config: func(*membus.Config) {}, filter: true, letters: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bus := open(t, twice, tc.config)
			if tc.handler == nil {
				tc.handler = func(context.Context, eventbus.Event) error { return nil }
			}
			var h eventbus.Handler = tc.handler
			if tc.filter {
				h = exitingFilter{h}
			}
			if _, err := bus.SubscribeToAllEvents("h", h); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, _ = apart(func() error { return bus.Publish(context.Background(), created("1")) })
			}
			if n, err := bus.DeadLetters().Count(t.Context()); n != 2*tc.letters || err != nil {
				t.Errorf("%d letters, %v", n, err)
			}
			if s := bus.Stats(); s.EventsProcessedFailed != 2 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

type exitingFilter struct{ eventbus.Handler }

func (exitingFilter) CanHandle(eventbus.Event) bool { runtime.Goexit(); return true }

// A replay whose handler ends its goroutine lets go of everything.
func TestGoexit_OfAReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := open(t, func(c *membus.Config) { c.Retry.MaxRetries = middleware.NoRetries })
		do := func() error { return errors.New("no") }
		on(t, bus, "h", func(context.Context, OrderCreated) error { return do() })
		if err := bus.Publish(t.Context(), created("1")); err != nil {
			t.Fatal(err)
		}
		id := only(t, bus).ID
		do = func() error { runtime.Goexit(); return nil }
		if returned, _ := apart(func() error { return bus.DeadLetters().Replay(context.Background(), id) }); returned {
			t.Error("Replay returned to a goroutine that has ended")
		}
		do = func() error { return nil }
		if err := bus.DeadLetters().Replay(t.Context(), id); err != nil {
			t.Errorf("the letter again: %v", err)
		}
		if l := only(t, bus); l.ID == id || l.ErrorType != "*middleware.GoexitError" {
			t.Errorf("left is %+v", l)
		}
		if report, err := bus.Shutdown(t.Context()); err != nil || report.Duration != 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}
