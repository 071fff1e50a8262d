package router_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

func TestHealth_OverTheLifeOfARouter(t *testing.T) {
	broker := newScripted(time.Millisecond)
	broker.add("t", 1)
	r := newRouter(t, router.Config{})
	started, release := make(chan struct{}), make(chan struct{})
	consume(t, r, "h", "t", broker, func(*message.Message) error {
		close(started)
		<-release
		return nil
	})
	expect := func(when string, want router.Health) {
		t.Helper()
		if got := r.Health(); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
		for _, probe := range []struct {
			h    http.Handler
			good bool
		}{{r.LiveHandler(), want.Live}, {r.ReadyHandler(), want.Ready}} {
			rec := httptest.NewRecorder()
			probe.h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			code := http.StatusServiceUnavailable
			if probe.good {
				code = http.StatusOK
			}
			var got router.Health
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || got != want || rec.Code != code {
				t.Errorf("%s: HTTP %d %s (%v), want %d and %+v", when, rec.Code, rec.Body, err, code, want)
			}
			if ct := rec.Header().Get("Content-Type"); ct != "application/json" {
				t.Errorf("Content-Type = %q", ct)
			}
		}
	}
	expect("before Run", router.Health{Live: true, Reason: "not running yet"})
	rs := run(t, r)
	expect("running", router.Health{Live: true, Ready: true})
	within(t, 5*time.Second, "the handler", started)
	rs.stop()
	eventually(t, "the drain has begun", func() bool { return !r.Health().Ready })
	expect("draining, with Watermill's Close waiting", router.Health{Live: true, Reason: "draining"})
	close(release)
	if err := within(t, 5*time.Second, "Run", rs.ran); err != nil {
		t.Errorf("Run = %v", err)
	}
	expect("closed", router.Health{Reason: "closed"})
}
