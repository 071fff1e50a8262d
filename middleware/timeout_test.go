package middleware_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

// obedient waits for the end of its context and says so.
func obedient(m *message.Message) ([]*message.Message, error) {
	<-m.Context().Done()
	return nil, m.Context().Err()
}

func TestTimeout_EndsTheContextAndRestoresIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		msg := newMessage(middleware.WithHandlerName(t.Context(), "send-invoice"), "1")
		outer := msg.Context()
		began := time.Now()
		_, err := middleware.Timeout{After: time.Minute}.Middleware(func(m *message.Message) ([]*message.Message, error) {
			if deadline, ok := m.Context().Deadline(); !ok || deadline.Sub(began) != time.Minute {
				t.Errorf("the handler's deadline is in %v, %v", deadline.Sub(began), ok)
			}
			return obedient(m)
		})(msg)
		var late *middleware.TimeoutError
		if !errors.As(err, &late) || late.After != time.Minute || late.Handler != "send-invoice" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v, want a *TimeoutError", err)
		}
		if want := `middleware: handler "send-invoice": timed out after 1m0s`; err.Error() != want {
			t.Errorf("text %q, want %q", err, want)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		if msg.Context() != outer || msg.Context().Err() != nil {
			t.Errorf("the message is left with a context that is %v", msg.Context().Err())
		}
	})
}

func TestTimeout_RestoresTheContextAlways(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, h := range map[string]message.HandlerFunc{
		"success": succeed,
		"failure": func(*message.Message) ([]*message.Message, error) { return nil, errInk },
		"a context of its own": func(m *message.Message) ([]*message.Message, error) {
			m.SetContext(context.WithValue(m.Context(), key{}, 1))
			return nil, nil
		},
		"panic": func(*message.Message) ([]*message.Message, error) { panic("x") },
	} {
		msg := newMessage(t.Context(), "1")
		func() {
			defer func() { _ = recover() }()
			_, _ = middleware.Timeout{After: time.Minute}.Middleware(h)(msg)
		}()
		if msg.Context() != t.Context() {
			t.Errorf("%s: the message has another context than before", name)
		}
	}
}

func TestTimeout_WhatTheHandlerSaysAfterIt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err      error
		timeout  bool
		contains string
	}{
		"success after all": {nil, false, ""},
		"its own error":     {errInk, true, "timed out after 1s: no ink"},
		"permanent":         {middleware.Permanent(errInk), false, "no ink"},
		"discard":           {middleware.Discard(errInk), false, "no ink"},
	} {
		synctest.Test(t, func(t *testing.T) {
			out := message.NewMessage("out", nil)
			produced, err := middleware.Timeout{After: time.Second}.Middleware(func(m *message.Message) ([]*message.Message, error) {
				<-m.Context().Done()
				return []*message.Message{out}, tc.err
			})(newMessage(t.Context(), "1"))
			var late *middleware.TimeoutError
			if errors.As(err, &late) != tc.timeout || !errors.Is(err, tc.err) {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.contains) {
				t.Errorf("%s: text %q, want it to contain %q", name, err, tc.contains)
			}
			if (err == nil) != (len(produced) == 1) {
				t.Errorf("%s: produced %d messages with error %v", name, len(produced), err)
			}
		})
	}
}

// A shutdown that interrupts the handler is no time-out, and a handler that
// fails in time is none either.
func TestTimeout_OnlyItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errDrain) })
		_, err := middleware.Timeout{After: time.Minute}.Middleware(obedient)(newMessage(ctx, "1"))
		var late *middleware.TimeoutError
		if errors.As(err, &late) || !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v, want what the handler said", err)
		}
		again, stop := context.WithCancelCause(t.Context())
		_, err = middleware.Timeout{After: time.Minute}.Middleware(func(m *message.Message) ([]*message.Message, error) {
			<-m.Context().Done()
			stop(errDrain)
			return nil, m.Context().Err()
		})(newMessage(again, "1"))
		if errors.As(err, &late) {
			t.Errorf("late and then interrupted: %v, want what the handler said: the message goes back", err)
		}
		handler, _ := failing(1, errInk)
		if _, err := (middleware.Timeout{After: time.Minute}).Middleware(handler)(newMessage(t.Context(), "2")); !errors.Is(err, errInk) || errors.As(err, &late) {
			t.Errorf("failed in time: %v", err)
		}
	})
}

// Retry inside Timeout: the time is for all attempts together, and running out
// of it is a time-out and not a shutdown.
func TestTimeout_AroundRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handler, runs := failing(100, errInk)
		h := middleware.Chain(
			middleware.Timeout{After: 2 * time.Second}.Middleware,
			middleware.Retry{Jitter: middleware.NoJitter}.Middleware,
		)(handler)
		_, err := h(newMessage(t.Context(), "1"))
		var late *middleware.TimeoutError
		if !errors.As(err, &late) || errors.Is(err, middleware.ErrHandedBack) || *runs != 2 {
			t.Errorf("%d runs, %v; want 2 and a *TimeoutError", *runs, err)
		}
	})
}

// Timeout inside Retry: each attempt has its own time.
func TestTimeout_InsideRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		h := middleware.Chain(
			middleware.Retry{MaxRetries: 2, BaseDelay: time.Second, Jitter: middleware.NoJitter}.Middleware,
			middleware.Timeout{After: 10 * time.Second}.Middleware,
		)(obedient)
		_, err := h(newMessage(t.Context(), "1"))
		var gone *middleware.ExhaustedError
		if !errors.As(err, &gone) || gone.Attempts != 3 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v, want three attempts", err)
		}
		if took := time.Since(began); took != 33*time.Second {
			t.Errorf("it took %v, want 10+1+10+2+10 s", took)
		}
	})
}

func TestTimeout_HandlerThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		var seen []middleware.Overrun
		began := time.Now()
		var seenAt time.Duration
		ctx := middleware.WithDelivery(middleware.WithHandlerName(t.Context(), "deaf"), &middleware.Delivery{Topic: "orders"})
		h := middleware.Timeout{
			After: 10 * time.Second, Grace: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(&out, nil)),
			OnOverrun: func(o middleware.Overrun) {
				seen, seenAt = append(seen, o), time.Since(began)
				panic("hook")
			},
		}.Middleware(func(m *message.Message) ([]*message.Message, error) {
			m.Metadata["event_type"] = "changed by the handler"
			<-time.After(time.Hour)
			return nil, nil
		})

		_, err := h(newMessage(ctx, "1"))

		if took := time.Since(began); took != time.Hour || err != nil {
			t.Errorf("came back after %v with %v; want to wait for the handler, and its success", took, err)
		}
		want := middleware.Overrun{Handler: "deaf", Topic: "orders", MessageID: "1", EventType: "OrderPaid", After: 10 * time.Second, Running: 12 * time.Second}
		if len(seen) != 1 || seen[0] != want || seenAt != 12*time.Second {
			t.Errorf("OnOverrun %+v after %v, want once %+v after 12s", seen, seenAt, want)
		}
		if log := out.String(); strings.Count(log, "ignores its context") != 1 || !strings.Contains(log, "hook panicked") || !strings.Contains(log, "handler=deaf") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestTimeout_NoOverrunWithinTheGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := middleware.Timeout{
			After: time.Second, OnOverrun: func(o middleware.Overrun) { t.Errorf("overrun: %+v", o) },
		}.Middleware(func(m *message.Message) ([]*message.Message, error) {
			<-m.Context().Done()
			<-time.After(middleware.DefaultOverrunGrace - time.Millisecond) // rolls back
			return nil, m.Context().Err()
		})
		if _, err := h(newMessage(t.Context(), "1")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		<-time.After(time.Minute) // a watch that was left behind would fire now
	})
}

func TestTimeout_Longest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := middleware.Timeout{
			After: math.MaxInt64, OnOverrun: func(o middleware.Overrun) { t.Errorf("overrun: %+v", o) },
		}.Middleware(func(m *message.Message) ([]*message.Message, error) {
			<-time.After(time.Hour)
			return nil, m.Context().Err()
		})
		if _, err := h(newMessage(t.Context(), "1")); err != nil {
			t.Error(err)
		}
	})
}

func TestTimeout_Off(t *testing.T) {
	h := middleware.Timeout{}.Middleware(succeed)
	if n := testing.AllocsPerRun(100, func() { _, _ = h(nil) }); n != 0 {
		t.Errorf("a time-out that is off costs %v allocations", n)
	}
	err := middleware.Timeout{After: -1, Grace: -1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "Timeout.After: ") || !strings.Contains(err.Error(), "Timeout.Grace: ") {
		t.Errorf("negative times: %v", err)
	}
	if err := (middleware.Timeout{After: 1}).Validate(); err != nil {
		t.Error(err)
	}
}
