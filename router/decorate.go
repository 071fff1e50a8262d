package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Subscriber makes any Watermill subscriber drain: see [Decorate].
type Subscriber struct {
	inner  message.Subscriber
	cfg    DrainConfig
	cfgErr error

	mu     sync.Mutex
	closed bool
	subs   map[*subscription]struct{}
}

var _ SubscriptionDrainer = (*Subscriber)(nil)

// Decorate returns a subscriber that delivers what sub delivers, and that
// drains: on Drain, on Close, and when the context of Subscribe ends. It works
// with any Watermill subscriber and in any Watermill router:
//
//	r.AddConsumerHandler("invoices", "orders", router.Decorate(sub, router.DrainConfig{}), handler)
//
// A stock router that closes ends the context of every message at once, and a
// stock adapter drops the acknowledgement that comes after it: messages that
// were handled are delivered again, and a poison queue buries healthy ones.
// Here handlers get copies of the messages whose context stays live until the
// message is settled or the deadline of the drain passes; the cause is then
// [ErrDrainDeadline]. The copy's context carries the values of the inner
// message's. An ack of the copy acks the inner message. A nack does too what it
// does without the decorator, except during a drain: then the inner message is
// left unsettled and the broker delivers it again to whoever comes next.
//
// After the last ack a drain gives sub the time to tell its broker (see
// DrainConfig.SettleTimeout), then ends the subscription, and closes the output
// channel last. A subscriber that acknowledges several messages at once (SQL
// with a batch size above 1) may still deliver the finished ones of its last
// batch again.
//
// When sub closes its channel by itself the messages at hand are still handled,
// the end is logged, and the output channel is closed.
//
// Close and Drain never close sub: it stays the caller's. A stock router that
// closes does close what its handlers subscribe with, and a stock adapter often
// its client with it: decorate for every handler that shares sub, or that of one
// is closed while the others drain. A wrong configuration is reported by
// Subscribe.
func Decorate(sub message.Subscriber, cfg DrainConfig) *Subscriber {
	s := &Subscriber{inner: sub, cfgErr: cfg.Validate(), subs: make(map[*subscription]struct{})}
	if sub == nil {
		s.cfgErr = errors.Join(s.cfgErr, errors.New("router: Decorate: the subscriber must not be nil"))
	}
	s.cfg = cfg.withDefaults()
	return s
}

// Subscribe subscribes to topic on the inner subscriber, with a context that
// has ctx's values but not its end. When ctx ends, this subscription drains
// within DrainConfig.DrainTimeout, and the channel is closed.
//
// It may be called several times, for the same topic too. It returns
// [ErrClosed] after Close and Drain.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if s.cfgErr != nil {
		return nil, s.cfgErr
	}
	if s.isClosed() {
		return nil, ErrClosed
	}
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	attached := context.AfterFunc(ctx, cancel) // while the inner Subscribe works
	in, err := s.inner.Subscribe(detached, topic)
	if err == nil && !attached() {
		for m := range in { // its context has ended: it closes
			m.Nack()
		}
		err = context.Cause(ctx)
	}
	if err != nil {
		attached()
		cancel()
		return nil, fmt.Errorf("router: subscribe %q: %w", topic, err)
	}
	sub := newSubscription(s.cfg, topic, in, cancel)

	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.subs[sub] = struct{}{}
	}
	s.mu.Unlock()
	unwatch := context.AfterFunc(ctx, func() { sub.stop(detached) })
	sub.start(func() {
		unwatch()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, sub)
	})
	if closed {
		sub.stop(detached)
		<-sub.done
		return nil, ErrClosed
	}
	return sub.out, nil
}

// SubscribeInitialize passes the call on to the inner subscriber, and does
// nothing when that has no such method.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	if si, ok := s.inner.(message.SubscribeInitializer); ok {
		return si.SubscribeInitialize(topic)
	}
	return nil
}

// Drain ends all subscriptions as [Drainer] says. A context without a deadline
// is given DrainConfig.DrainTimeout. It returns at most a second after the
// deadline.
func (s *Subscriber) Drain(ctx context.Context) (Report, error) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.drain(ctx, func(*subscription) bool { return true })
}

// DrainSubscription drains the subscription whose Subscribe returned out, as
// Drain does with all. The subscriber stays open.
func (s *Subscriber) DrainSubscription(ctx context.Context, out <-chan *message.Message) (Report, error) {
	return s.drain(ctx, func(sub *subscription) bool { return sub.out == out })
}

func (s *Subscriber) drain(ctx context.Context, which func(*subscription) bool) (Report, error) {
	start := time.Now()
	s.mu.Lock()
	var subs []*subscription
	for sub := range s.subs {
		if which(sub) {
			subs = append(subs, sub)
		}
	}
	s.mu.Unlock()

	for _, sub := range subs {
		sub.stop(ctx)
	}
	var total Report
	var errs []error
	for _, sub := range subs {
		<-sub.done
		report, err := sub.result()
		total.add(report)
		errs = append(errs, err)
	}
	if len(subs) > 0 {
		total.Duration = time.Since(start)
	}
	return total, errors.Join(errs...)
}

// Close drains within DrainConfig.DrainTimeout. It does not close the inner
// subscriber. A second call returns nil.
func (s *Subscriber) Close() error {
	_, err := s.Drain(context.Background())
	return err
}

func (s *Subscriber) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
