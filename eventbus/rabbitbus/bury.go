package rabbitbus

import "github.com/leat-go/leat/eventbus/internal/transport"

// bury puts a message that was delivered too often among the dead letters, and
// acknowledges it when that is confirmed. With the loss of its channel that
// becomes the business of who gets it next.
func (s *subscription) bury(e *entry) {
	burial := transport.Burial{
		To: s.cfg.DeadLetters, OnDead: s.cfg.OnDead, Buried: &s.stats.buried, Log: s.log,
		Why: "event buried: delivered too often without being finished",
	}
	retry, cancel := transport.Until(s.live, s.ending.Stopping, e.sess.lost)
	defer cancel()
	if burial.Bury(s.live, retry, transport.OverLimit("rabbitbus", e.msg, &e.delivery, s.cfg.ConsumerGroup, s.cfg.MaxDeliveries)) {
		s.settle(e)
	}
}
