package direct

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/router"
)

// Own marks the subscriber of a bus that made it itself: nobody has wrapped it,
// so that nobody misses the messages that do not pass the channel.
type Own struct {
	router.Drainer

	// TellTo, when not nil, is given what the transport is to call for each
	// letter that it buried without the bus.
	TellTo func(tell func(dlq.Letter))
}

// Call is an offer that a bus makes to its transport in the context of
// Subscribe: to call the handler on the transport's own goroutine instead of
// sending each message through a channel, the router's goroutines and back. It
// is made only where nobody's middleware stands between the two.
type Call struct {
	handle func(*message.Message) error
	taken  atomic.Bool
}

type callKey struct{}

// Offer returns a context for Subscribe that offers handle. A nil error of
// handle is an ack, any other a nack. Handle must be callable from many
// goroutines.
func Offer(ctx context.Context, handle func(*message.Message) error) (context.Context, *Call) {
	c := &Call{handle: handle}
	return context.WithValue(ctx, callKey{}, c), c
}

// Take returns the function to call for each message, nil when none was
// offered. Who takes it sends nothing to the channel that Subscribe returns,
// and closes it all the same when the subscription is over.
func Take(ctx context.Context) func(*message.Message) error {
	c, ok := ctx.Value(callKey{}).(*Call)
	if !ok || !c.taken.CompareAndSwap(false, true) {
		return nil
	}
	return c.handle
}

// Taken reports whether the offer was taken. It is decided when Subscribe has
// returned.
func (c *Call) Taken() bool { return c.taken.Load() }
