package eventbus_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/leat-go/leat/eventbus"
)

// A bus that will never do what its owner hopes for says so.
func TestLogging_ABusThatNobodyRunsOrHears(t *testing.T) {
	for name, c := range map[string]struct {
		subscribe, run bool
		want           string
	}{
		"handlers, never run":        {subscribe: true, want: "without Run"},
		"run, no handlers":           {run: true, want: "no handlers"},
		"handlers and run":           {subscribe: true, run: true},
		"neither: it only publishes": {},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			bus := over(t, pubsub(t), func(cfg *eventbus.Config) {
				cfg.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
			})
			if c.subscribe {
				if _, err := eventbus.Subscribe(bus, "h", func(context.Context, OrderCreated) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
			ran := make(chan error, 1)
			if c.run {
				go func() { ran <- bus.Run(context.Background()) }()
				<-bus.Running()
			} else {
				ran <- nil
			}
			if _, err := bus.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-ran; err != nil {
				t.Fatal(err)
			}
			got := said.String()
			if lines := strings.Count(got, "\n"); (c.want != "") != (lines == 1) || !strings.Contains(got, c.want) {
				t.Errorf("it said %q, want one line about %q, or none", got, c.want)
			}
		})
	}
}
