package router

import (
	"context"
	"sync"
	"time"
)

const (
	// quiet is how long a drain waits after the last ack even when the adapter
	// showed that it went on: watermill-sql ends the message's context before
	// it commits, and an adapter with several sources delivers from one while
	// the ack of the other is on its way.
	quiet = 50 * time.Millisecond

	// maxOpenAcks bounds what settling remembers; the newest decide.
	maxOpenAcks = 256
)

// settling knows how likely it is that the inner adapter has sent all acks to
// its broker. Watermill gives no signal for it, but says that an adapter ends a
// message's context when it is settled; all stock adapters do so after the
// native ack, with few exceptions (watermill-sql; a message that
// watermill-redisstream sends again after a nack has no context).
type settling struct {
	mu   sync.Mutex
	last time.Time // of the last ack

	// blind is the time of the last ack whose context cannot tell; delivered is
	// set when a message was delivered after it.
	blind     time.Time
	delivered bool

	open []openAck // acks whose context had not ended when last looked at
}

type openAck struct {
	ctx context.Context //nolint:containedctx // watched, not passed on: its end is the adapter's only sign
	at  time.Time
}

func (s *settling) acked(ctx context.Context) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = now
	if ctx.Done() == nil {
		s.blind, s.delivered = now, false
		return
	}
	s.prune()
	if len(s.open) == maxOpenAcks {
		s.open = append(s.open[:0], s.open[1:]...)
	}
	s.open = append(s.open, openAck{ctx, now})
}

func (s *settling) received() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delivered = true
}

// wait returns how much longer to wait, zero when all is settled, and the
// channel of a context whose end is worth another look.
func (s *settling) wait(limit time.Duration) (time.Duration, <-chan struct{}) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.IsZero() {
		return 0, nil
	}
	left := min(quiet, limit) - now.Sub(s.last)
	if !s.blind.IsZero() && !s.delivered {
		left = max(left, limit-now.Sub(s.blind))
	}
	s.prune()
	if len(s.open) > 0 {
		left = max(left, limit-now.Sub(s.open[len(s.open)-1].at))
		return max(left, 0), s.open[0].ctx.Done()
	}
	return max(left, 0), nil
}

// prune forgets the oldest acks whose contexts have ended.
func (s *settling) prune() {
	ended := 0
	for ended < len(s.open) && s.open[ended].ctx.Err() != nil {
		ended++
	}
	if ended > 0 {
		kept := copy(s.open, s.open[ended:])
		clear(s.open[kept:])
		s.open = s.open[:kept]
	}
}
