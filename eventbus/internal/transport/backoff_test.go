package transport_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		most time.Duration
		want []time.Duration
	}{
		"zero":  {0, []time.Duration{20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1280 * ms, 2000 * ms, 2000 * ms}},
		"bound": {50 * ms, []time.Duration{20 * ms, 40 * ms, 50 * ms, 50 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pause := transport.Backoff{Most: c.most}
				var got []time.Duration
				for range c.want {
					began := time.Now()
					if !pause.Wait(t.Context()) {
						t.Fatal("Wait says that the context has ended")
					}
					got = append(got, time.Since(began))
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("pauses %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestSleep_endsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if transport.Sleep(ctx, time.Minute) {
			t.Error("Sleep says that it slept")
		}
		if got := time.Since(began); got != time.Second {
			t.Errorf("slept %v, want 1s", got)
		}
	})
}

func TestUntil(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(parent context.CancelFunc, c chan struct{}, cancel context.CancelFunc){
		"context": func(parent context.CancelFunc, _ chan struct{}, _ context.CancelFunc) { parent() },
		"channel": func(_ context.CancelFunc, c chan struct{}, _ context.CancelFunc) { close(c) },
		"cancel":  func(_ context.CancelFunc, _ chan struct{}, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				parent, endParent := context.WithCancel(t.Context())
				defer endParent()
				c := make(chan struct{})
				ctx, cancel := transport.Until(parent, make(chan struct{}), c)
				defer cancel()
				synctest.Wait()
				if ctx.Err() != nil {
					t.Fatal("ended before anything happened")
				}
				end(endParent, c, cancel)
				synctest.Wait()
				if ctx.Err() == nil {
					t.Error("goes on")
				}
			})
		})
	}
}
