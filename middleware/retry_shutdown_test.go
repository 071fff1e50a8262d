package middleware_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

var errDrain = errors.New("drain deadline")

func TestRetry_HandsBackWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, err error) {
		t.Helper()
		var gone *middleware.ExhaustedError
		if !errors.Is(err, middleware.ErrHandedBack) || !errors.Is(err, errDrain) || errors.As(err, &gone) {
			t.Errorf("err = %v, want %v with its cause", err, middleware.ErrHandedBack)
		}
	}
	t.Run("before the first attempt", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errDrain)
		handler, runs := failing(0, nil)
		_, err := middleware.Retry{}.Middleware(handler)(newMessage(ctx, "1"))
		check(t, err)
		if *runs != 0 {
			t.Errorf("the handler ran %d times", *runs)
		}
	})
	t.Run("during a wait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(30*time.Second, func() { cancel(errDrain) })
			began := time.Now()
			handler, runs := failing(100, errInk)
			_, err := middleware.Retry{BaseDelay: time.Hour}.Middleware(handler)(newMessage(ctx, "1"))
			check(t, err)
			if took := time.Since(began); took != 30*time.Second || *runs != 1 {
				t.Errorf("%d runs, back after %v; want 1, 30s", *runs, took)
			}
		})
	})
	t.Run("during the last attempt", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := middleware.Retry{MaxRetries: middleware.NoRetries}.Middleware(func(m *message.Message) ([]*message.Message, error) {
			cancel(errDrain)
			return nil, context.Cause(m.Context())
		})(newMessage(ctx, "1"))
		check(t, err)
	})
	t.Run("but not what was decided", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := middleware.Retry{}.Middleware(func(*message.Message) ([]*message.Message, error) {
			cancel(errDrain)
			return nil, middleware.Permanent(errInk)
		})(newMessage(ctx, "1"))
		if errors.Is(err, middleware.ErrHandedBack) || !middleware.IsFinal(err) {
			t.Errorf("err = %v, want the handler's own word", err)
		}
	})
	t.Run("nor a success", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := middleware.Retry{}.Middleware(func(*message.Message) ([]*message.Message, error) {
			cancel(errDrain)
			return nil, nil
		})(newMessage(ctx, "1"))
		if err != nil {
			t.Errorf("err = %v, want nil: the work is done", err)
		}
	})
}
