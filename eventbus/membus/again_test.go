package membus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/router"
)

func TestShutdown_TheSecondOneTellsTheReportAndNil(t *testing.T) {
	for name, tc := range map[string]struct {
		works time.Duration // the handler
		late  bool
	}{
		"clean": {works: time.Second},
		"late":  {works: time.Hour, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus, err := membus.New(membus.Config{Registry: registry(t)})
				if err != nil {
					t.Fatal(err)
				}
				on(t, bus, "h", func(ctx context.Context, _ OrderCreated) error {
					select {
					case <-time.After(tc.works):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				go func() { _ = bus.Publish(context.Background(), created("1")) }()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				first, err := bus.Shutdown(ctx)
				if first.Finished+first.HandedBack != 1 || errors.Is(err, router.ErrCloseTimeout) != tc.late {
					t.Errorf("the first: %+v, %v", first, err)
				}
				cancel() // it need not wait
				second, again := bus.Shutdown(ctx)
				if second != first || again != nil {
					t.Errorf("the second: %+v, %v; the first: %+v, %v", second, again, first, err)
				}
				synctest.Wait()
			})
		})
	}
}
