package rabbitbus

import (
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// confirm gives what is in flight its outcome, in the order of writing, until
// the writer closes the flight.
func (l *line) confirm() {
	defer close(l.settled)
	for f := range l.flight {
		if l.await(f) {
			f.req.resolve(f.i, l.outcome(f))
			continue
		}
		// Lost: nothing else that is in flight will be confirmed.
		rest := []flying{f}
		for f := range l.flight {
			rest = append(rest, f)
		}
		l.abandon(rest)
		return
	}
}

// await reports whether the broker answered; false means that the line is lost.
func (l *line) await(f flying) bool {
	select {
	case <-f.sure.Done():
	case <-l.lost:
	case <-f.req.done: // its caller has gone
		l.late(f)
	case <-l.quit:
		select {
		case <-f.sure.Done():
		case <-l.lost:
		case <-f.req.done: // its caller has gone
			return true
		}
	}
	if f.sure.Acked() {
		return true
	}
	// The client nacks by itself what a closed channel will never confirm.
	if l.ch.IsClosed() {
		<-l.lost
		return false
	}
	return true
}

// stallAfter is how long a confirmation may be late before the channel is given
// up. What was written behind it waits for it.
const stallAfter = 10 * time.Second

// late waits for a confirmation that nobody waits for any more.
func (l *line) late(f flying) {
	timer := time.NewTimer(stallAfter)
	defer timer.Stop()
	select {
	case <-f.sure.Done():
	case <-l.lost:
	case <-l.quit:
	case <-timer.C:
		if reason, _ := l.link.blocking(); reason != "" {
			return // the broker reads nothing, and will
		}
		l.p.log.Warn("a confirmation did not come, the channel is given up")
		go l.giveUp()
		<-l.lost
	}
}

// giveUp closes the channel, or when the broker does not even answer that, its
// connection.
func (l *line) giveUp() {
	if !farewell(l.ch) && l.link.sock != nil {
		_ = l.link.sock.Close() // seen by whoever reads from it
	}
}

// outcome of a message that the broker answered for.
func (l *line) outcome(f flying) error {
	item := &f.req.items[f.i]
	// The broker sends the return before the confirmation, and the client has
	// put it there before the confirmation was seen.
	for more := true; more; {
		select {
		case r, ok := <-l.returns:
			if more = ok; ok {
				l.returned = append(l.returned, r)
			}
		default:
			more = false
		}
	}
	if len(l.returned) > 0 {
		at := slices.IndexFunc(l.returned, func(r amqp.Return) bool {
			return r.MessageId == item.MessageId && r.RoutingKey == item.key && r.Exchange == item.exchange
		})
		if at >= 0 {
			l.returned = slices.Delete(l.returned, at, at+1)
			return &UnroutableError{Exchange: item.exchange, RoutingKey: item.key}
		}
	}
	if !f.sure.Acked() {
		return &RefusedError{Err: errNack}
	}
	return nil
}

// abandon tells what is known of messages that were written to a line that is
// lost: nothing, unless a single one was on it and the broker said what it had
// against it.
func (l *line) abandon(rest []flying) {
	var open []flying
	for _, f := range rest {
		if f.sure.Acked() {
			f.req.resolve(f.i, l.outcome(f))
			continue
		}
		open = append(open, f)
	}
	for _, f := range open {
		if len(open) == 1 && lasting(l.why) {
			f.req.resolve(f.i, l.why)
			continue
		}
		f.req.resolve(f.i, fmt.Errorf("%w: %w", ErrUnknown, l.why))
	}
}
