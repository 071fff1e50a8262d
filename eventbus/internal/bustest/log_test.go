package bustest_test

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/leat-go/leat/eventbus/internal/bustest"
)

func TestLog(t *testing.T) {
	t.Parallel()
	book := &bustest.Log{}
	log := slog.New(book).With("left", "out").WithGroup("out")
	log.Debug("a", "n", 1)
	log.Info("b", "n", 2, "text", "x y")
	log.Warn("ERROR in c")
	log.Error("d")
	all := []string{"DEBUG a n=1", "INFO b n=2 text=x y", "WARN ERROR in c", "ERROR d"}
	if got := book.All(); !slices.Equal(got, all) {
		t.Errorf("all are %q, want %q", got, all)
	}
	for from, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if got := book.Above(level); !slices.Equal(got, all[from:]) {
			t.Errorf("above %v are %q, want %q", level, got, all[from:])
		}
	}
}

func TestTold(t *testing.T) {
	t.Parallel()
	told := &bustest.Told{LeftOut: "partitions "}
	log := told.Logger()
	log.Debug("not an operator's matter")
	log.Info("a")
	log.Info("partitions came")
	log.Warn("b of partitions ")
	for from, want := range [][]string{{"INFO a", "WARN b of partitions "}, {"WARN b of partitions "}, nil, nil} {
		if got := told.Lines(t, from); !slices.Equal(got, want) {
			t.Errorf("from %d on: %q, want %q", from, got, want)
		}
	}
	if _, err := told.Write([]byte("no line of a log")); err != nil {
		t.Fatal(err)
	}
	if got := complaints(t, func(f *failing) { told.Lines(f, 0) }); len(got) != 1 {
		t.Errorf("of what is no line it says %q", got)
	}
}
