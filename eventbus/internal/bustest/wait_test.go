package bustest_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/bustest"
)

func TestPatience(t *testing.T) {
	t.Parallel()
	filled := func() chan *message.Message {
		out := make(chan *message.Message, 1)
		out <- bustest.Message("a", "k")
		return out
	}
	closed := make(chan *message.Message)
	close(closed)
	for _, c := range []struct {
		name string
		test func(f *failing)
		want []string
		took time.Duration
	}{
		{"what is so already", func(f *failing) { patience.Eventually(f, "so", func() bool { return true }) }, nil, 0},
		{"what never comes", func(f *failing) { patience.Eventually(f, "so", func() bool { return false }) }, []string{"not within 10s: so"}, 10005 * time.Millisecond},
		{"what comes at last", func(f *failing) {
			began := time.Now()
			patience.Eventually(f, "so", func() bool { return time.Since(began) >= 9*time.Second })
		}, nil, 9 * time.Second},
		{"a message", func(f *failing) {
			if m := patience.Next(f, filled()); m.UUID != "a" {
				f.Errorf("got %s", m.UUID)
			}
		}, nil, 0},
		{"no message", func(f *failing) { patience.Next(f, nil) }, []string{"no message came"}, 10 * time.Second},
		{"no message any more", func(f *failing) { patience.Next(f, closed) }, []string{"the channel was closed, want a message"}, 0},
		{"none, and none comes", func(f *failing) { bustest.None(f, nil, time.Second) }, nil, time.Second},
		{"none, and the channel is closed", func(f *failing) { bustest.None(f, closed, time.Second) }, nil, 0},
		{"none, and one comes", func(f *failing) { bustest.None(f, filled(), time.Second) }, []string{"message a came, want none"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got := complaints(t, c.test)
				if took := time.Since(began); !slices.Equal(got, c.want) || took != c.took {
					t.Errorf("says %q after %v, want %q after %v", got, took, c.want, c.took)
				}
			})
		})
	}
}
