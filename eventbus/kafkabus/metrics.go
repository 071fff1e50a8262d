package kafkabus

import "github.com/leat-go/leat/middleware/tracing"

// observed is what metrics ask of the bus. The lag is that of the committed
// offsets. The letters that wait are not told: to count them, all are read.
func (b *Bus) observed() tracing.Observed {
	c := b.sub.stats
	return tracing.Observed{
		Lag: b.inspect.Lag, LanesBusy: b.sub.lanesBusy,
		Reconnections: c.reconnections.Load, Rebalances: c.rebalances.Load,
	}
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
