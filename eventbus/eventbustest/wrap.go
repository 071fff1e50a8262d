package eventbustest

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// CrashSubscriber wraps the Subscriber of a harness's bus: it can die as a
// killed process does. The zero value is not usable; see [NewCrashSubscriber].
type CrashSubscriber struct {
	inner   message.Subscriber
	crash   sync.Once
	crashed chan struct{}
}

// NewCrashSubscriber wraps sub, which stays the caller's.
func NewCrashSubscriber(sub message.Subscriber) *CrashSubscriber {
	return &CrashSubscriber{inner: sub, crashed: make(chan struct{})}
}

// Crash ends the inner subscription without settling anything: an
// [Instance].Crash. Acks and nacks go nowhere from now on.
func (s *CrashSubscriber) Crash() { s.crash.Do(func() { close(s.crashed) }) }

// Subscribe passes on copies of what the inner Subscriber delivers.
func (s *CrashSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	in, err := s.inner.Subscribe(ctx, topic)
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan *message.Message)
	ended := make(chan struct{})
	go func() {
		select {
		case <-s.crashed:
			cancel()
		case <-ended:
		}
	}()
	go func() {
		defer cancel()
		defer close(out)
		defer close(ended)
		for m := range in {
			own := m.Copy()
			own.SetContext(m.Context())
			select {
			case out <- own:
				go s.settle(m, own, ended)
			case <-ctx.Done(): // it stays unsettled
			}
		}
	}()
	return out, nil
}

// settle tells the inner message what became of the copy; nothing after a
// crash.
func (s *CrashSubscriber) settle(inner, own *message.Message, ended <-chan struct{}) {
	verdict := func(settle func() bool) {
		select {
		case <-s.crashed:
		default:
			settle()
		}
	}
	select {
	case <-own.Acked():
		verdict(inner.Ack)
	case <-own.Nacked():
		verdict(inner.Nack)
	case <-ended:
	}
}

// Close does nothing: the inner Subscriber is its owner's.
func (s *CrashSubscriber) Close() error { return nil }

// StallPublisher wraps the Publisher of a harness's bus: it can be held up, as
// by a broker that does not answer.
type StallPublisher struct {
	message.Publisher

	mu   sync.Mutex
	held chan struct{} // nil: open
}

// NewStallPublisher wraps pub, which stays the caller's.
func NewStallPublisher(pub message.Publisher) *StallPublisher { return &StallPublisher{Publisher: pub} }

// Stall holds up all Publish calls until release is called: an
// [Instance].Stall.
func (p *StallPublisher) Stall() (release func()) {
	held := make(chan struct{})
	p.mu.Lock()
	p.held = held
	p.mu.Unlock()
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held == held {
			p.held = nil
		}
		close(held)
	})
}

var errGivenUp = errors.New("stalled: the caller gave up before anything was sent")

// Publish waits while it is held up, or until the message's context ends.
func (p *StallPublisher) Publish(topic string, msgs ...*message.Message) error {
	for _, m := range msgs {
		p.mu.Lock()
		held := p.held
		p.mu.Unlock()
		if held != nil {
			select {
			case <-held:
			case <-m.Context().Done():
				return errors.Join(errGivenUp, context.Cause(m.Context()))
			}
		}
		if m.Context().Err() != nil { // whoever waited for this has left
			return errors.Join(errGivenUp, context.Cause(m.Context()))
		}
		if err := p.Publisher.Publish(topic, m); err != nil {
			return err
		}
	}
	return nil
}

// Close does nothing: the inner Publisher is its owner's.
func (p *StallPublisher) Close() error { return nil }
