package transport_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// logbook keeps what is logged, a line each, without the time.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (b *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, strings.TrimSpace(string(p)))
	return len(p), nil
}

func (b *logbook) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.lines...)
}
