package redisbus

import "github.com/leat-go/leat/middleware/tracing"

// observed is what metrics ask of the bus. The lag is the group's: what it has
// not read yet.
func (b *Bus) observed(store *Store, disableDLQ bool) tracing.Observed {
	o := tracing.Observed{Lag: b.inspect.Lag, LanesBusy: b.sub.lanesBusy, Reconnections: b.sub.stats.reconnections.Load}
	if !disableDLQ {
		o.DeadLetters = store.Count
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
