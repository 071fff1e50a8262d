package eventbus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/router"
)

// called is the bus's own transport on the bus's own router: nobody's
// middleware stands between the two, so the transport may call the bus itself.
// A message that goes through the router takes three goroutines, each of which
// has to be woken; this takes none.
type called struct {
	router.Drainer
	bus *Bus

	names   *message.Message // the one message that goes through the router
	named   chan struct{}    // closed when it has
	context context.Context  //nolint:containedctx // what the router tells handlers in their context
}

func newCalled(b *Bus) *called {
	return &called{Drainer: b.sub, bus: b, names: message.NewMessage("", nil), named: make(chan struct{})}
}

// Subscribe offers the transport to call the bus. What the router puts into the
// context of each message (names, and the topic) is learned from a message of
// our own.
func (c *called) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	offer, call := direct.Offer(ctx, func(msg *message.Message) error {
		select {
		case <-c.named:
		case <-msg.Context().Done(): // the router never came to it
			return context.Cause(msg.Context())
		}
		return c.bus.takeCalled(c.context, msg)
	})
	in, err := c.bus.sub.Subscribe(offer, topic)
	if err != nil || !call.Taken() {
		return in, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		out <- c.names // the router reads until out is closed
		for range in { // until it is over; nothing comes
		}
	}()
	return out, nil
}

// handle is what the router calls.
func (c *called) handle(msg *message.Message) error {
	if msg == c.names {
		c.context = msg.Context()
		close(c.named)
		return nil
	}
	return c.bus.take(msg)
}
