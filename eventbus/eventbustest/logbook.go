package eventbustest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// logbook is a slog handler that keeps everything, at every level.
type logbook struct {
	mu      sync.Mutex
	records []logged
}

type logged struct {
	level slog.Level
	text  string // message and attributes
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	l.note(r, "")
	return nil
}

func (l *logbook) note(r slog.Record, with string) {
	var text strings.Builder
	text.WriteString(r.Message + with)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&text, " %s=%+v", a.Key, a.Value.Any())
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, logged{r.Level, text.String()})
}

func (l *logbook) WithAttrs(attrs []slog.Attr) slog.Handler {
	var with strings.Builder
	for _, a := range attrs {
		fmt.Fprintf(&with, " %s=%+v", a.Key, a.Value.Any())
	}
	return &logbookWith{logbook: l, with: with.String()}
}

func (l *logbook) WithGroup(string) slog.Handler { return l }

// logbookWith is a logger's own attributes on the same book.
type logbookWith struct {
	*logbook
	with string
}

func (l *logbookWith) Handle(_ context.Context, r slog.Record) error {
	l.note(r, l.with)
	return nil
}

func (l *logbookWith) WithAttrs(attrs []slog.Attr) slog.Handler {
	more, _ := l.logbook.WithAttrs(attrs).(*logbookWith)
	more.with = l.with + more.with
	return more
}

// find returns the records at or above the level that contain the text.
func (l *logbook) find(level slog.Level, text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, r := range l.records {
		if r.level >= level && strings.Contains(r.text, text) {
			found = append(found, r.text)
		}
	}
	return found
}
