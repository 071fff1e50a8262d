package eventbus

import (
	"net/http"

	"github.com/leat-go/leat/router"
)

// Health tells an orchestrator about this bus, alone: live until a Shutdown is
// through or consuming has ended by itself, ready while it consumes and nobody
// has asked for its end. A bus without a Subscriber, and one in memory, is ready
// as soon as it is open. It does not ask the broker: a transport that
// reconnects is healthy. It never blocks.
//
// A router.Router that the bus is mounted on includes this in its own health.
func (b *Bus) Health() router.Health {
	select {
	case <-b.life.done:
		return router.Health{Reason: "closed"}
	default:
	}
	b.life.mu.Lock()
	running, ending, broken := b.life.running, b.life.draining || b.life.stopping, b.life.broken
	run, consumer := b.life.router, b.life.consumer
	b.life.mu.Unlock()
	switch {
	case broken != "":
		return router.Health{Reason: broken}
	case ending:
		return router.Health{Live: true, Reason: "draining"}
	case b.direct || b.cfg.Subscriber == nil:
		return router.Health{Live: true, Ready: true}
	case !running:
		return router.Health{Live: true, Reason: "not running yet"}
	case run != nil && !ended(b.life.consumes), consumer == nil, !ended(consumer.Started()):
		return router.Health{Live: true, Reason: "starting"}
	case ended(consumer.Stopped()):
		return router.Health{Reason: b.lost()}
	}
	return router.Health{Live: true, Ready: true}
}

// lost says which subscription ended by itself.
func (b *Bus) lost() string {
	return "the subscription of group " + b.cfg.Group + " to " + b.cfg.Topic + " ended"
}

// LiveHandler answers 200 while the bus is live and 503 when it is not, with its
// Health as JSON. It shows topic and group to whoever may ask.
func (b *Bus) LiveHandler() http.Handler { return router.LiveHandler(b) }

// ReadyHandler is like LiveHandler, for ready. It answers 503 from the start of
// a drain, whoever asked for it.
func (b *Bus) ReadyHandler() http.Handler { return router.ReadyHandler(b) }

// ended reports whether the channel is closed.
func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
