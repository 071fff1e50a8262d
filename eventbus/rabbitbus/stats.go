package rabbitbus

import (
	"sync/atomic"
	"time"
)

// ClientStats are what a [Client] counts.
type ClientStats struct {
	Connected     bool      // now
	ConnectedAt   time.Time // of the connection there is now
	Reconnections int64     // connections that were lost and made anew
	Blocked       string    // the broker's reason for taking no messages; empty when it does
}

// Stats returns the counts at this moment; it never blocks.
func (c *Client) Stats() ClientStats {
	s := ClientStats{Reconnections: c.reconnections.Load()}
	if at := c.connectedAt.Load(); at != 0 {
		s.ConnectedAt = time.Unix(0, at)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && !c.closed && c.current.alive() {
		s.Connected = true
		s.Blocked, _ = c.current.blocking()
	}
	return s
}

// SubscriberStats are the counts of a [Subscriber] since it was made.
type SubscriberStats struct {
	Delivered     int64 // messages handed out, redeliveries after a nack included
	Acked         int64 // messages whose acknowledgement was written
	Nacked        int64 // by whoever handles the messages; a bus nacks no failure
	HandedBack    int64 // messages left to the broker by a drain
	Buried        int64 // messages over MaxDeliveries
	Voided        int64 // messages whose channel was lost while they were handled
	Repeated      int64 // redeliveries of finished messages, acknowledged without a handler
	Reconnections int64 // consumers that were lost and made anew
	InFlight      int   // messages received and not acknowledged, now
}

type counters struct {
	delivered, acked, nacked, handedBack, buried, voided, repeated, reconnections atomic.Int64
}
