package eventbus

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

// given is a subscriber of the caller's that drains by itself. Others may
// subscribe on it too: the bus ends its own subscriptions and no others.
type given struct {
	router.SubscriptionDrainer

	mu     sync.Mutex
	closed bool
	outs   []<-chan *message.Message
}

// Subscribe remembers the subscription as the bus's own.
func (g *given) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if g.keep(nil) {
		return nil, router.ErrClosed
	}
	out, err := g.SubscriptionDrainer.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	if g.keep(out) { // drained meanwhile
		_, err := g.DrainSubscription(ctx, out)
		return nil, errors.Join(router.ErrClosed, err)
	}
	return out, nil
}

func (g *given) keep(out <-chan *message.Message) (closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if out != nil && !g.closed {
		g.outs = append(g.outs, out)
	}
	return g.closed
}

// Drain drains the bus's own subscriptions.
func (g *given) Drain(ctx context.Context) (router.Report, error) {
	g.mu.Lock()
	g.closed = true
	outs := g.outs
	g.outs = nil
	g.mu.Unlock()
	var total router.Report
	var errs []error
	for _, out := range outs { // one: a bus subscribes once
		report, err := g.DrainSubscription(ctx, out)
		total.Finished += report.Finished
		total.HandedBack += report.HandedBack
		total.Duration = max(total.Duration, report.Duration)
		errs = append(errs, err)
	}
	return total, errors.Join(errs...)
}

// Close is for the router that the bus is on: it drains, and the subscriber
// stays open.
func (g *given) Close() error {
	_, err := g.Drain(context.Background())
	return err
}
