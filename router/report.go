package router

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Report counts what a drain did with the messages that had been taken from
// the broker when it began.
type Report struct {
	// Finished counts the messages that were being handled when the drain
	// began, and were acknowledged before it ended.
	Finished int

	// HandedBack counts the messages that were left unacknowledged, so that
	// the broker delivers them again: they had not been given to a handler
	// yet, their handler failed during the drain, or it was still running at
	// the deadline.
	HandedBack int

	// Duration is the time from the start of the drain to the closing of the
	// last subscription.
	Duration time.Duration
}

// add sums the counts; the longest duration wins, since drains run side by side.
func (r *Report) add(o Report) {
	r.Finished += o.Finished
	r.HandedBack += o.HandedBack
	r.Duration = max(r.Duration, o.Duration)
}

// Drainer is a Subscriber that drains by itself: leat's own transports are,
// and [Decorate] makes one of any other. [Router] does not decorate it again.
type Drainer interface {
	message.Subscriber

	// Drain ends all subscriptions. It stops the intake, lets the messages
	// that are being handled finish with a live context, acknowledges them to
	// the broker, hands back the rest, and closes the output channels last.
	//
	// When ctx ends before the handlers do, the contexts of their messages end
	// with the cause [ErrDrainDeadline], their messages are handed back, and
	// Drain returns an error that wraps ErrDrainDeadline within moments,
	// whether the handlers return or not. A context without a deadline is
	// given the drainer's own.
	//
	// Drain may be called from any goroutine except from a handler of the
	// drained messages, which would wait for itself. After it, Subscribe
	// returns an error; a second Drain returns the zero Report and nil.
	// Cancelling the context of one Subscribe call drains that subscription
	// alone, within the drainer's own time-out.
	Drain(ctx context.Context) (Report, error)
}

// SubscriptionDrainer is a [Drainer] that can drain one of its subscriptions
// under a deadline of the caller's. [Router] uses it when it has to stop a
// handler whose subscriber others may share; of a Drainer without it, it
// cancels the context of Subscribe, waits for the channel, and reports no
// counts.
type SubscriptionDrainer interface {
	Drainer

	// DrainSubscription does what Drain does, for the one subscription whose
	// Subscribe returned out. When there is none (any more) it returns the
	// zero Report and nil.
	DrainSubscription(ctx context.Context, out <-chan *message.Message) (Report, error)
}
