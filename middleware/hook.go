package middleware

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// callHook runs a user's hook; a panic in it must not become the message's.
func callHook(ctx context.Context, log *slog.Logger, name string, hook func()) {
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "hook panicked", "hook", name, "error", fmt.Sprint(p))
		}
	}()
	hook()
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// pause waits for d and reports false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
