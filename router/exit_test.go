package router_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

// A handler that ends its goroutine gets its message again, what is behind it
// comes after it, and the router's end waits for nobody.
func TestRouter_HandlerThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	broker := newScripted(time.Millisecond)
	broker.add("t", 2)
	r := newRouter(t, router.Config{})
	var runs atomic.Int64
	consume(t, r, "h", "t", broker, func(*message.Message) error {
		if runs.Add(1) == 1 {
			runtime.Goexit()
		}
		return nil
	})
	run(t, r)
	eventually(t, "both are handled", func() bool { return runs.Load() == 3 && len(broker.unacked()) == 0 })
	if report, err := r.Shutdown(t.Context()); err != nil || report.HandedBack != 0 {
		t.Errorf("Shutdown = %+v, %v", report, err)
	}
}
