package kafkabus

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

// bury puts a record that killed too many processes among the dead letters,
// and goes on behind it when that is confirmed. It never reaches a handler, nor
// the middleware: any of them may be what it kills. A burial that fails is
// tried again; meanwhile the partition waits, and nothing is lost.
func (s *subscription) bury(e *entry) {
	letter := s.letter(e)
	pause := newBackoff(maxPause)
	ctx, cancel := context.WithCancel(e.p.live)
	defer cancel()
	go func() {
		select {
		case <-e.p.limited:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		letter.BuriedAt = time.Now().UTC()
		bounded, done := context.WithTimeout(ctx, middleware.DefaultBuryTimeout)
		id, err := s.cfg.DeadLetters.Bury(bounded, letter)
		done()
		if err == nil {
			letter.ID = id
			break
		}
		s.log.Error("burial failed, trying again", "event_id", letter.MessageID, "error", err)
		if !pause.wait(ctx) {
			return
		}
	}
	s.log.Error("event given up: it was being handled alone each time its process died",
		"event_id", letter.MessageID, "event_type", letter.EventType(), "deliveries", letter.Attempts)
	s.stats.buried.Add(1)
	if s.cfg.OnDead != nil {
		s.cfg.OnDead(letter)
	}
	s.settle(e)
}

// letter tells what is known about a record that kills its consumers.
func (s *subscription) letter(e *entry) dlq.Letter {
	l := dlq.NewLetter(e.msg)
	l.Key = e.delivery.Key
	l.Reason = dlq.ReasonDeliveryLimit
	l.ErrorType = "kafkabus.DeliveryLimit"
	l.ErrorMessage = fmt.Sprintf("delivered %d times without being finished, at most %d are allowed", e.delivery.Count-1, s.cfg.MaxDeliveries)
	l.Attempts = e.delivery.Count - 1
	l.Group = s.cfg.ConsumerGroup
	l.Source = e.delivery.Source()
	l.Host, _ = os.Hostname() // empty when the machine has no name
	return l
}
