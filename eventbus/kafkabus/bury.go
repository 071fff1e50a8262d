package kafkabus

import "github.com/leat-go/leat/eventbus/internal/transport"

// bury puts a record that killed too many processes among the dead letters,
// and goes on behind it when that is confirmed. Until then the partition waits.
func (s *subscription) bury(e *entry) {
	burial := transport.Burial{
		To: s.cfg.DeadLetters, OnDead: s.cfg.OnDead, Buried: &s.stats.buried, Log: s.log,
		Why: "event given up: it was being handled alone each time its process died",
	}
	live, cancel := transport.Until(e.p.live, e.p.limited)
	defer cancel()
	if burial.Bury(live, live, transport.OverLimit("kafkabus", e.msg, &e.delivery, s.cfg.ConsumerGroup, s.cfg.MaxDeliveries)) {
		s.settle(e)
	}
}
