package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// Logging writes one line for each message that has passed the chain inside it:
// at level Debug when it succeeded, was discarded or handed back, at Warn when
// it failed. It writes names and ids, never payloads. With the level switched
// off it costs a call.
type Logging struct {
	// Logger gets the lines. Nil discards.
	Logger *slog.Logger
}

// Validate reports nothing: every Logging is valid.
func (l Logging) Validate() error { return nil }

// Middleware is the [message.HandlerMiddleware].
func (l Logging) Middleware(h message.HandlerFunc) message.HandlerFunc {
	if l.Logger == nil {
		return h
	}
	log := l.Logger
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx := msg.Context()
		if !log.Enabled(ctx, slog.LevelWarn) {
			return h(msg)
		}
		began := time.Now()
		produced, err := h(msg)
		level, text := slog.LevelDebug, "message handled"
		if err != nil {
			switch classify(err) {
			case handedBack:
				text = "message handed back"
			case discarded:
				text = "message discarded"
			case again, final, undecodable:
				level, text = slog.LevelWarn, "message failed"
			}
		}
		if log.Enabled(ctx, level) {
			logMessage(ctx, log, level, text, msg, time.Since(began), err)
		}
		return produced, err
	}
}

func logMessage(ctx context.Context, log *slog.Logger, level slog.Level, text string, msg *message.Message, took time.Duration, err error) {
	attrs := []slog.Attr{
		slog.String("topic", topicOf(ctx)), slog.String("handler", HandlerName(ctx)),
		slog.String("event_id", msg.UUID), slog.String("event_type", msg.Metadata[wire.EventType]),
		slog.Int("attempt", Attempt(ctx)), slog.Duration("duration", took),
	}
	if d := DeliveryFrom(ctx); d != nil && d.Group != "" {
		attrs = append(attrs, slog.String("group", d.Group))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	log.LogAttrs(ctx, level, text, attrs...)
}
