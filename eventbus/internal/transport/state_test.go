package transport_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// One line when it breaks, one when it works again, none between.
func TestState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logbook
		log := book.logger()
		s := transport.State{What: "reading"}
		steps := []struct {
			name string
			do   func() bool
			want bool
		}{
			{"up at first", func() bool { return s.Up(log) }, false},
			{"down", func() bool { return s.Down(log, errors.New("refused")) }, true},
			{"down again", func() bool { return s.Down(log, errors.New("refused, too")) }, false},
			{"up", func() bool { <-time.After(1500 * time.Millisecond); return s.Up(log) }, true},
			{"up again", func() bool { return s.Up(log) }, false},
			{"down once more", func() bool { return s.Down(log, errors.New("gone")) }, true},
		}
		for _, step := range steps {
			if got := step.do(); got != step.want {
				t.Errorf("%s: %t, want %t", step.name, got, step.want)
			}
		}
		want := []string{
			`level=WARN msg="reading failed, trying again" error=refused`,
			`level=INFO msg="reading works again" after=1.5s`,
			`level=WARN msg="reading failed, trying again" error=gone`,
		}
		if got := book.all(); !slices.Equal(got, want) {
			t.Errorf("log:\n%q\nwant\n%q", got, want)
		}
	})
}
