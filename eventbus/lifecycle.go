package eventbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

type life struct {
	mu        sync.Mutex
	running   bool // by Run or Mount, for good
	router    *router.Router
	consumer  *message.Handler // what Watermill runs
	draining  bool             // the end of the subscription was asked for
	drainTurn chan struct{}    // held by the Drain that is under way
	drained   router.Report
	broken    string // why consuming ended, or never began, though nobody asked for that
	stopping  bool
	consumes  chan struct{} // closed when Run has subscribed
	done      chan struct{} // closed when the first Shutdown is through
	report    Report        // of that one, written before
}

// claim makes the caller the one that consumes.
func (b *Bus) claim() error {
	b.life.mu.Lock()
	defer b.life.mu.Unlock()
	switch {
	case b.life.stopping:
		return ErrClosed
	case b.cfg.Subscriber == nil && !b.direct:
		return ErrNoSubscriber
	case b.life.running:
		return ErrRunning
	}
	b.life.running = true
	return nil
}

// Run consumes until ctx ends or Shutdown is called, then drains within
// DrainTimeout and returns: nil after a clean stop, an error that wraps
// router.ErrCloseTimeout when handlers outlived the deadline,
// [ErrSubscriptionEnded] when the Subscriber went away by itself, any other
// error when consuming could not start. Subscribe the handlers first: an event
// that comes before its handler is there is skipped, and does not come again.
//
// A bus runs once; publishing goes on until Shutdown, which a program calls
// last. In memory there is nothing to consume: Run waits.
func (b *Bus) Run(ctx context.Context) error {
	if err := b.claim(); err != nil {
		return err
	}
	if b.direct {
		b.log.Info("bus consumes", b.place()...)
		close(b.life.consumes)
		select {
		case <-ctx.Done():
		case <-b.life.done:
		}
		return nil
	}
	r, err := router.New(router.Config{DrainTimeout: b.cfg.DrainTimeout, Logger: b.log})
	if err != nil {
		return err
	}
	guest := mounted{b, b.sub, b.take}
	if b.owned {
		c := newCalled(b)
		guest.sub, guest.handle = c, c.handle
	}
	if err := r.Mount(guest); err != nil {
		return err
	}
	b.life.mu.Lock()
	if b.life.stopping {
		b.life.mu.Unlock()
		return ErrClosed
	}
	b.life.router = r
	b.life.mu.Unlock()
	over, lost := make(chan struct{}), make(chan bool, 1)
	go func() { lost <- b.watch(r, over) }()
	err = r.Run(ctx)
	close(over)
	if <-lost {
		err = errors.Join(ErrSubscriptionEnded, err)
	} else if err != nil {
		b.life.mu.Lock()
		if !ended(b.life.consumes) && !b.life.stopping && ctx.Err() == nil {
			b.life.broken = "consuming could not start"
		}
		b.life.mu.Unlock()
	}
	return err
}

// watch says when the bus consumes, and ends the router when the subscription
// ended without having been asked: Run would go on and consume nothing.
func (b *Bus) watch(r *router.Router, over <-chan struct{}) (lost bool) {
	select {
	case <-r.Running():
		b.consuming()
		close(b.life.consumes)
	case <-over:
		return false
	}
	b.life.mu.Lock()
	consumer := b.life.consumer
	b.life.mu.Unlock()
	select {
	case <-consumer.Stopped():
	case <-over:
		return false
	}
	if lost = b.noteLoss(); lost {
		b.log.Error("subscription ended by itself, the bus stops", slog.String("topic", b.cfg.Topic), slog.String("group", b.cfg.Group))
		_, _ = r.Shutdown(context.Background()) // Run returns its error
	}
	return lost
}

// noteLoss remembers, and reports, that the subscription has ended though nobody
// asked for that.
func (b *Bus) noteLoss() bool {
	b.life.mu.Lock()
	defer b.life.mu.Unlock()
	if b.life.draining || b.life.stopping || b.life.consumer == nil || !ended(b.life.consumer.Stopped()) {
		return false
	}
	b.life.broken = b.lost()
	return true
}

// Running is closed when [Bus.Run] has subscribed: from then on the bus
// consumes. It stays open when Run fails, and for a bus that is mounted, whose
// router tells.
func (b *Bus) Running() <-chan struct{} { return b.life.consumes }

// Mount makes the bus's consumer half a handler of a Watermill router that the
// caller owns, runs and closes. The handler is named leat.{topic}.{group}; a
// router can have one of that name, a second is refused with [ErrDuplicate].
// Mount before the router runs, or call its RunHandlers afterwards. Instead of
// [Bus.Run], once.
//
// Closing the router drains the bus, as long as the router's CloseTimeout
// allows; [Bus.Shutdown] reports it. Closing it also closes the Subscribers of the
// router's other handlers: they must not share the bus's, unless through
// router.Decorate; or call [Bus.Drain] first.
func (b *Bus) Mount(r *message.Router) error {
	if r == nil {
		return errors.New("eventbus: mount: the router is nil")
	}
	if err := b.claim(); err != nil {
		return err
	}
	if b.direct {
		b.log.Info("bus consumes", b.place()...)
		return nil
	}
	err := mounted{b, guest{b}, b.take}.Mount(r)
	if err != nil {
		b.life.mu.Lock()
		b.life.running = false
		b.life.mu.Unlock()
	}
	return err
}

// mounted is the bus as the router's guest.
type mounted struct {
	bus    *Bus
	sub    message.Subscriber
	handle message.NoPublishHandlerFunc
}

// String names the bus in the router's errors and log.
func (m mounted) String() string { return "leat." + m.bus.cfg.Topic + "." + m.bus.cfg.Group }

// Mount adds the handler.
func (m mounted) Mount(r *message.Router) (err error) {
	b := m.bus
	name := m.String()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case message.DuplicateHandlerNameError:
			err = fmt.Errorf("eventbus: mount: %w: the router has a handler %q: give the second bus another topic or group, or a router of its own", ErrDuplicate, name)
		default:
			panic(p)
		}
	}()
	h := r.AddConsumerHandler(name, b.cfg.Topic, m.sub, m.handle)
	b.life.mu.Lock()
	b.life.consumer = h
	b.life.mu.Unlock()
	return nil
}

// guest is the bus's subscriber on a stock router, which ends message contexts
// before it closes: here both begin the bus's own drain, and its report is kept
// for Shutdown.
type guest struct{ bus *Bus }

// Subscribe subscribes with a context that the router cannot end.
func (g guest) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out, err := g.bus.sub.Subscribe(context.WithoutCancel(ctx), topic)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = g.Close() })
	g.bus.consuming()
	return out, nil
}

// Close drains, within the bus's DrainTimeout. The router calls it too when the
// handler has ended by itself.
func (g guest) Close() error {
	g.bus.noteLoss()
	ctx, cancel := context.WithTimeout(context.Background(), g.bus.cfg.DrainTimeout)
	defer cancel()
	_, err := g.bus.Drain(ctx)
	return err
}

// Drain stops the consumer half.
func (m mounted) Drain(ctx context.Context) (router.Report, error) { return m.bus.Drain(ctx) }
