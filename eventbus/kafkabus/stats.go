package kafkabus

import "sync/atomic"

// System names Kafka in deliveries, spans and metrics.
const System = "kafka"

// SubscriberStats are the counts of a [Subscriber] since it was made.
type SubscriberStats struct {
	Delivered     int64 // messages handed out, redeliveries after a nack included
	Acked         int64 // records that are done: their offsets are committed soon
	Nacked        int64 // by whoever handles the messages; a bus nacks no failure
	HandedBack    int64 // records read and not done, when a drain or a rebalance took them
	Buried        int64 // records over MaxDeliveries
	Tombstones    int64 // records without a value that only delete a key: passed over
	Lost          int64 // records that retention removed before this group read them
	Rebalances    int64 // of the group, after this member has joined it
	LostPartition int64 // partitions that were taken without asking: this member was thought dead
	Commits       int64 // of offsets
	Pauses        int64 // of a partition's fetching, because too much of it was in flight
	Reconnections int64 // to a broker, after its connection broke or could not be made
	InFlight      int   // records read and not done, now
}

type counters struct {
	delivered, acked, nacked, handedBack, buried, tombstones, lost, rebalances, lostPartitions, commits, pauses, reconnections atomic.Int64
}

// Stats returns the counts at this moment.
func (s *Subscriber) Stats() SubscriberStats {
	c := s.stats
	stats := SubscriberStats{
		Delivered: c.delivered.Load(), Acked: c.acked.Load(), Nacked: c.nacked.Load(), HandedBack: c.handedBack.Load(),
		Buried: c.buried.Load(), Tombstones: c.tombstones.Load(), Lost: c.lost.Load(), Rebalances: c.rebalances.Load(),
		LostPartition: c.lostPartitions.Load(), Commits: c.commits.Load(), Pauses: c.pauses.Load(), Reconnections: c.reconnections.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs {
		stats.InFlight += sub.table.open()
	}
	return stats
}
