package kafkabus

import "github.com/leat-go/leat/middleware/tracing"

// observed is what metrics ask of the bus. The lag is that of the committed
// offsets.
func (b *Bus) observed(store *Store, disableDLQ bool) tracing.Observed {
	c := b.sub.stats
	o := tracing.Observed{
		Lag: b.inspect.Lag, LanesBusy: b.sub.lanesBusy,
		Reconnections: c.reconnections.Load, Rebalances: c.rebalances.Load,
	}
	if !disableDLQ {
		o.DeadLetters = store.waiting().count
	}
	return o
}

// lanesBusy counts the keys that are being handled.
func (s *Subscriber) lanesBusy() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for sub := range s.subs {
		_, taken := sub.lanes.Len()
		n += taken
	}
	return int64(n)
}
