package router

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Watermill's router closes what it is given, subscribes at moments of its own
// choosing, and does not survive a failed Subscribe. So it is given stand-ins.

// opened is the subscriber that Watermill gets for a handler: a subscription
// that exists already. Its Subscribe cannot fail.
type opened struct {
	sub    message.Subscriber // a Drainer
	out    <-chan *message.Message
	cancel context.CancelFunc // ends the subscription
	closed func()             // called first when Watermill closes it
}

// open subscribes. ctx bounds that, and gives the subscription its values.
func open(ctx context.Context, sub message.Subscriber, topic string, closed func()) (*opened, error) {
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	attached := context.AfterFunc(ctx, cancel)
	out, err := sub.Subscribe(detached, topic)
	if err != nil {
		attached()
		cancel()
		return nil, err
	}
	if !attached() {
		// The subscription drains: whoever reads out sees it closed.
		cancel()
	}
	return &opened{sub: sub, out: out, cancel: cancel, closed: closed}, nil
}

func (o *opened) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return o.out, nil
}

// Close is called by Watermill's router when it closes: a drain. The decorator
// that Watermill puts around every subscriber waits for the channel.
func (o *opened) Close() error {
	o.closed()
	_, err := o.drain(context.Background())
	return err
}

func (o *opened) drain(ctx context.Context) (Report, error) {
	defer o.cancel()
	if sd, ok := o.sub.(SubscriptionDrainer); ok {
		return sd.DrainSubscription(ctx, o.out)
	}
	return Report{}, nil
}

// String keeps the given subscriber's name in the message context.
func (o *opened) String() string {
	if d, ok := o.sub.(*Subscriber); ok {
		return nameOf(d.inner)
	}
	return nameOf(o.sub)
}

// forgiving turns a failed Subscribe into a subscription that has ended, and
// reports the error. Watermill would leave the handler half started: the name
// taken, its decorators doubled at the next try, and Close waiting for it.
type forgiving struct {
	message.Subscriber
	report func(error)
}

func (f *forgiving) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out, err := f.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		f.report(fmt.Errorf("router: subscribe %q: %w", topic, err))
		ended := make(chan *message.Message)
		close(ended)
		return ended, nil
	}
	return out, nil
}

// unclosed keeps Watermill from closing a publisher when one of the handlers
// that share it ends.
type unclosed struct{ message.Publisher }

func (unclosed) Close() error { return nil }

// keepAlive is the subscriber of a handler that never gets a message: Watermill's
// router closes when its last handler stops, and what is added later consumes
// nothing.
type keepAlive struct {
	once    sync.Once
	closing chan struct{}
	closed  func()
}

const keepAliveName = "leat.keep-alive"

func (k *keepAlive) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		select {
		case <-k.closing:
		case <-ctx.Done():
		}
	}()
	return out, nil
}

func (k *keepAlive) Close() error {
	k.closed()
	k.once.Do(func() { close(k.closing) })
	return nil
}

// nameOf is how Watermill names publishers and subscribers in the context.
func nameOf(v any) string {
	if s, ok := v.(fmt.Stringer); ok {
		return s.String()
	}
	return strings.TrimLeft(fmt.Sprintf("%T", v), "*")
}
