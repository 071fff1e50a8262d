package router

import (
	"encoding/json"
	"net/http"
)

// Health is what a router tells an orchestrator.
type Health struct {
	// Live is false when only a new process helps: the router was closed, or
	// the subscription of a handler ended though nobody stopped it.
	Live bool `json:"live"`

	// Ready is true from the moment all handlers are subscribed until the
	// start of the drain.
	Ready bool `json:"ready"`

	// Reason says why Live or Ready is false.
	Reason string `json:"reason,omitempty"`
}

// Reporter has a health to tell: [Router] and eventbus.Bus do.
type Reporter interface {
	// Health tells it at this moment. It must not block, and may be called from
	// many goroutines.
	Health() Health
}

// Health reports the state of the router, and of what is mounted on it and has
// a health of its own, as a bus has. It takes no lock of the router's and never
// blocks, also while handlers are being added and during a drain. It does not
// ask the brokers: an adapter that reconnects is healthy.
func (r *Router) Health() Health {
	switch state(r.state.Load()) {
	case idle:
		return Health{Live: true, Reason: "not running yet"}
	case starting:
		return Health{Live: true, Reason: "starting"}
	case draining:
		return Health{Live: true, Reason: "draining"}
	case closed:
		return Health{Reason: "closed"}
	case running:
	}
	if lost := r.lost.Load(); lost != nil {
		return Health{Reason: "the subscription of handler " + *lost + " ended"}
	}
	all := Health{Live: true, Ready: true}
	if guests := r.guests.Load(); guests != nil {
		for _, guest := range *guests {
			switch h := guest.Health(); {
			case !h.Live:
				return h
			case !h.Ready && all.Ready:
				all = h
			}
		}
	}
	return all
}

// LiveHandler answers 200 while the router is live and 503 when it is not, with
// the [Health] as JSON. It shows the names of handlers to whoever may ask.
func (r *Router) LiveHandler() http.Handler { return LiveHandler(r) }

// ReadyHandler is like LiveHandler, for ready.
func (r *Router) ReadyHandler() http.Handler { return ReadyHandler(r) }

// LiveHandler answers 200 while r is live and 503 when it is not, with its
// [Health] as JSON: for a health that a program puts together itself.
func LiveHandler(r Reporter) http.Handler {
	return healthHandler(func() (Health, bool) { h := r.Health(); return h, h.Live })
}

// ReadyHandler is like [LiveHandler], for ready.
func ReadyHandler(r Reporter) http.Handler {
	return healthHandler(func() (Health, bool) { h := r.Health(); return h, h.Ready })
}

func healthHandler(look func() (Health, bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		health, good := look()
		body, err := json.Marshal(health)
		if err != nil { // a string that is not UTF-8 is replaced, not refused: unreachable
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !good {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		// The prober hung up: nobody is left to tell.
		_, _ = w.Write(append(body, '\n'))
	})
}
