package router

import (
	"context"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
)

// NewLogger lets Watermill log to l, with leat's attribute keys. Unlike
// watermill.NewSlogLogger it builds no attributes for records that l drops, so
// Watermill's trace and debug records per message cost little, and it leaves
// out the messages that a failed publish would print whole. nil discards.
func NewLogger(l *slog.Logger) watermill.LoggerAdapter {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return logger{l: l}
}

// ownLogger is NewLogger for the router's own Watermill router: what that tells of
// its starts and stops is detail; the router tells what an operator must know.
func ownLogger(l *slog.Logger) watermill.LoggerAdapter {
	w, _ := NewLogger(l).(logger)
	w.info = slog.LevelDebug
	return w
}

type logger struct {
	l    *slog.Logger
	info slog.Level // of what Watermill calls info
}

func (l logger) Error(msg string, err error, fields watermill.LogFields) {
	l.log(slog.LevelError, msg, err, fields)
}

func (l logger) Info(msg string, fields watermill.LogFields) {
	l.log(l.info, msg, nil, fields)
}

func (l logger) Debug(msg string, fields watermill.LogFields) {
	l.log(slog.LevelDebug, msg, nil, fields)
}

func (l logger) Trace(msg string, fields watermill.LogFields) {
	l.log(watermill.LevelTrace, msg, nil, fields)
}

func (l logger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	args := make([]any, 0, len(fields))
	for _, a := range attrs(fields) {
		args = append(args, a)
	}
	return logger{l.l.With(args...), l.info}
}

func (l logger) log(level slog.Level, msg string, err error, fields watermill.LogFields) {
	ctx := context.Background()
	if !l.l.Enabled(ctx, level) {
		return
	}
	as := attrs(fields)
	if err != nil {
		as = append(as, slog.Any("error", err))
	}
	l.l.LogAttrs(ctx, level, msg, as...)
}

func attrs(fields watermill.LogFields) []slog.Attr {
	as := make([]slog.Attr, 0, len(fields)+1)
	for key, value := range fields {
		switch key {
		case "not_sent_message": // whole payloads
			continue
		case "handler_name", "subscriber_name":
			key = "handler"
		case "message_uuid":
			key = "event_id"
		case "err":
			key = "error"
		}
		as = append(as, slog.Any(key, value))
	}
	return as
}
