package bustest

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
)

// Log is a handler that keeps what is logged at any level, a line each: level,
// message, attributes of the call. The zero value is empty. It is for many
// goroutines.
type Log struct {
	mu   sync.Mutex
	seen []line
}

type line struct {
	level slog.Level
	text  string
}

// Enabled is true: no level is left out.
func (l *Log) Enabled(context.Context, slog.Level) bool { return true }

// Handle keeps a line.
func (l *Log) Handle(_ context.Context, r slog.Record) error {
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, line{level: r.Level, text: text})
	return nil
}

// WithAttrs returns the log: the attributes of a logger are not kept.
func (l *Log) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup returns the log: groups are not kept.
func (l *Log) WithGroup(string) slog.Handler { return l }

// All returns the lines so far.
func (l *Log) All() []string { return l.Above(math.MinInt) }

// Above returns the lines of at least that level.
func (l *Log) Above(level slog.Level) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, said := range l.seen {
		if said.level >= level {
			lines = append(lines, said.text)
		}
	}
	return lines
}

// Told is what an operator reads: a log at level info. The zero value is empty.
// It is for many goroutines.
type Told struct {
	// LeftOut is how messages begin that Lines leaves out; none when empty.
	LeftOut string

	mu  sync.Mutex
	out bytes.Buffer
}

// Write keeps what a logger writes.
func (o *Told) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.Write(p)
}

// Logger returns a logger that writes to o.
func (o *Told) Logger() *slog.Logger { return slog.New(slog.NewJSONHandler(o, nil)) }

// Lines returns the levels and messages from a line on.
func (o *Told) Lines(t testing.TB, from int) (said []string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for text := range strings.Lines(o.out.String()) {
		var line struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in line %q", err, text)
		}
		if o.LeftOut == "" || !strings.HasPrefix(line.Msg, o.LeftOut) {
			said = append(said, line.Level+" "+line.Msg)
		}
	}
	return said[min(from, len(said)):]
}
