package redisbus

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

// bury puts an entry that was delivered too often among the dead letters, and
// acknowledges it when that is confirmed. It never reaches a handler, nor the
// middleware: any of them may be what it kills. A burial that fails is tried
// again; meanwhile the entry's key waits, and nothing is lost.
func (s *subscription) bury(e *entry) {
	letter := s.letter(e)
	pause := newBackoff(maxPause)
	for {
		letter.BuriedAt = time.Now().UTC()
		bounded, cancel := context.WithTimeout(s.live, middleware.DefaultBuryTimeout)
		id, err := s.cfg.DeadLetters.Bury(bounded, letter)
		cancel()
		if err == nil {
			letter.ID = id
			break
		}
		s.log.Error("burial failed, trying again", "event_id", letter.MessageID, "error", err)
		ctx, cancel := s.untilStopping()
		again := pause.wait(ctx)
		cancel()
		if !again {
			return
		}
	}
	s.log.Error("event given up: delivered too often without being finished",
		"event_id", letter.MessageID, "event_type", letter.EventType(), "deliveries", e.delivery.Count-1)
	s.stats.buried.Add(1)
	if s.cfg.OnDead != nil {
		s.cfg.OnDead(letter)
	}
	s.settle(e, buried)
}

// letter tells what is known about an entry that kills its consumers.
func (s *subscription) letter(e *entry) dlq.Letter {
	l := dlq.NewLetter(e.msg)
	l.Key = e.delivery.Key
	l.Reason = dlq.ReasonDeliveryLimit
	l.ErrorType = "redisbus.DeliveryLimit"
	l.ErrorMessage = fmt.Sprintf("delivered %d times without being finished, at most %d are allowed", e.delivery.Count-1, s.cfg.MaxDeliveries)
	l.Attempts = e.delivery.Count - 1
	l.Group = s.cfg.ConsumerGroup
	l.Source = e.delivery.Source()
	l.Host, _ = os.Hostname() // empty when the machine has no name
	return l
}

func (s *subscription) untilStopping() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(s.live)
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
