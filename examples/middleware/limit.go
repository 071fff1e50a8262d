package main

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/time/rate"

	"github.com/leat-go/leat/eventbus"
)

// maxTenants bounds the memory of a TenantLimit: event metadata can hold any
// tenant. Beyond it all of them begin anew.
const maxTenants = 10_000

// TenantLimit lets the events of each tenant through at most so fast, so that a
// busy one does not use up what a handler calls. What is too fast waits, and
// with it its key, but no other tenant: give the bus some Concurrency.
type TenantLimit struct {
	Every  time.Duration // one event each
	Burst  int           // so many at once, after a rest
	OnWait func(tenant string, d time.Duration)

	mu      sync.Mutex
	tenants map[string]*rate.Limiter
}

// Middleware is the message.HandlerMiddleware. The tenant stands in the
// metadata, so it need not decode anything.
func (l *TenantLimit) Middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		tenant := msg.Metadata[eventbus.KeyTenantID]
		turn := l.of(tenant).Reserve()
		if d := turn.Delay(); d > 0 {
			if l.OnWait != nil {
				l.OnWait(tenant, d)
			}
			select {
			case <-time.After(d):
			case <-msg.Context().Done(): // a shutdown: the event is handed back, and did not fail
				turn.Cancel()
				return nil, context.Cause(msg.Context())
			}
		}
		return next(msg)
	}
}

func (l *TenantLimit) of(tenant string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenants == nil || len(l.tenants) >= maxTenants {
		l.tenants = map[string]*rate.Limiter{}
	}
	if l.tenants[tenant] == nil {
		l.tenants[tenant] = rate.NewLimiter(rate.Every(l.Every), l.Burst)
	}
	return l.tenants[tenant]
}
