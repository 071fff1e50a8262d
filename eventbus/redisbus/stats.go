package redisbus

import "sync/atomic"

// System names Redis in deliveries, spans and metrics.
const System = "redis"

// SubscriberStats are the counts of a [Subscriber] since it was made.
type SubscriberStats struct {
	Delivered     int64 // messages handed out, redeliveries after a nack included
	Acked         int64 // entries whose acknowledgement the server confirmed
	Nacked        int64 // by whoever handles the messages; a bus nacks no failure
	HandedBack    int64 // entries left pending by a drain
	Claimed       int64 // entries taken over from dead consumers
	Buried        int64 // entries over MaxDeliveries
	Lost          int64 // entries trimmed or deleted before this group handled them, as far as it shows
	TakenOver     int64 // entries that another consumer claimed while they were handled here
	Reconnections int64 // broken connections of the reader that were made anew
	Recreations   int64 // consumer groups that were gone and made anew
	InFlight      int   // entries read and not acknowledged, now
}

type counters struct {
	delivered, acked, nacked, handedBack, claimed, buried, lost, takenOver, reconnections, recreations atomic.Int64
}

// Stats returns the counts at this moment.
func (s *Subscriber) Stats() SubscriberStats {
	c := s.stats
	stats := SubscriberStats{
		Delivered: c.delivered.Load(), Acked: c.acked.Load(), Nacked: c.nacked.Load(), HandedBack: c.handedBack.Load(),
		Claimed: c.claimed.Load(), Buried: c.buried.Load(), Lost: c.lost.Load(), TakenOver: c.takenOver.Load(),
		Reconnections: c.reconnections.Load(), Recreations: c.recreations.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs {
		n, _ := sub.table.len()
		stats.InFlight += n
	}
	return stats
}
