package middleware_test

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/leat-go/leat/middleware"
)

// Each middleware's own cost at a message that succeeds: subtract "none".
func BenchmarkMiddleware(b *testing.B) {
	var stats middleware.Stats
	seen := middleware.NewMemSeen(middleware.MemSeenConfig{Max: 1000})
	for _, bm := range []struct {
		name string
		mw   message.HandlerMiddleware
	}{
		{"none", middleware.Chain()},
		{"Recover", middleware.Recover{}.Middleware},
		{"Retry", middleware.Retry{}.Middleware},
		{"DeadLetter", middleware.DeadLetter{Burier: &graveyard{}}.Middleware},
		{"Timeout", middleware.Timeout{After: time.Minute}.Middleware},
		{"Logging/off", middleware.Logging{Logger: slog.New(slog.DiscardHandler)}.Middleware},
		{"Logging/warn", middleware.Logging{Logger: slog.New(levelHandler{slog.DiscardHandler, slog.LevelWarn})}.Middleware},
		{"Logging/debug", middleware.Logging{Logger: slog.New(levelHandler{slog.DiscardHandler, slog.LevelDebug})}.Middleware},
		{"Idempotency", middleware.Idempotency{Store: seen}.Middleware},
		{"Correlation", middleware.Correlation},
		{"Stats", stats.Middleware},
		{"all", middleware.Chain(stats.Middleware, middleware.DeadLetter{Burier: &graveyard{}}.Middleware,
			middleware.Retry{}.Middleware, middleware.Recover{}.Middleware)},
		{"Watermill/Retry", stock.Retry{MaxRetries: 3, InitialInterval: time.Second, Multiplier: 2}.Middleware},
		{"Watermill/Recoverer", stock.Recoverer},
		{"Watermill/Timeout", stock.Timeout(time.Minute)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			h := bm.mw(succeed)
			msg := newMessage(b.Context(), "1")
			ctx := msg.Context()
			b.ReportAllocs()
			for b.Loop() {
				msg.SetContext(ctx) // Watermill's Timeout leaves its own
				_, _ = h(msg)
			}
		})
	}
}

// What a message costs that Idempotency has not seen before.
func BenchmarkIdempotency_New(b *testing.B) {
	h := middleware.Idempotency{Store: middleware.NewMemSeen(middleware.MemSeenConfig{Max: 1000})}.Middleware(succeed)
	msg := newMessage(b.Context(), "1")
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		msg.UUID = strconv.Itoa(n)
		_, _ = h(msg)
	}
}

// levelHandler writes nothing, but is enabled from a level on.
type levelHandler struct {
	slog.Handler
	level slog.Level
}

func (h levelHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }
