package redisbus

import "github.com/leat-go/leat/eventbus/internal/transport"

// bury puts an entry that was delivered too often among the dead letters, and
// acknowledges it when that is confirmed. Until then the entry's key waits.
func (s *subscription) bury(e *entry) {
	burial := transport.Burial{
		To: s.cfg.DeadLetters, OnDead: s.cfg.OnDead, Buried: &s.stats.buried, Log: s.log,
		Why: "event given up: delivered too often without being finished",
	}
	retry, cancel := transport.Until(s.live, s.ending.Stopping)
	defer cancel()
	if burial.Bury(s.live, retry, transport.OverLimit("redisbus", e.msg, &e.delivery, s.cfg.ConsumerGroup, s.cfg.MaxDeliveries)) {
		s.settle(e, buried)
	}
}
