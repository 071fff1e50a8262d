package redisbus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/leat-go/leat/router"
)

const (
	// grace is how long after the deadline a drain may take to end: handlers
	// see the end of their context, the last acks are sent, the rest is handed
	// back. What is not done by then is given up.
	grace = time.Second

	// abandonAfter is the part of grace that handlers get to return in.
	abandonAfter = 500 * time.Millisecond

	// cutAfter is how long the server gets to wake a blocked read.
	cutAfter = 250 * time.Millisecond
)

// stop begins the drain, and bounds it by ctx, or by the configured time-out
// when ctx has no deadline. Later calls add their bound: the earliest counts.
func (s *subscription) stop(ctx context.Context) {
	cancel := func() {}
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, s.cfg.DrainTimeout)
	}
	s.stopOnce.Do(func() {
		s.began = time.Now()
		close(s.stopping)
	})
	unwatch := context.AfterFunc(ctx, func() {
		s.lateOnce.Do(func() { close(s.deadline) })
	})
	s.boundsMu.Lock()
	defer s.boundsMu.Unlock()
	s.bounds = append(s.bounds, func() { unwatch(); cancel() })
	if s.ended {
		s.releaseBounds()
	}
}

// releaseBounds is called with boundsMu held.
func (s *subscription) releaseBounds() {
	s.ended = true
	for _, free := range s.bounds {
		free()
	}
	s.bounds = nil
}

// drain ends the reader, waits for the handlers, sends the acks, and hands
// back the rest, in this order. idle is closed when all workers have ended;
// stopUpkeep ends heartbeat and acker.
func (s *subscription) drain(idle <-chan struct{}, stopUpkeep func(hard context.Context)) {
	s.lanes.Close()
	hard, release := s.hardStop()
	defer release()
	cut := s.stopReader(hard)
	late := s.awaitHandlers(idle)

	s.acks.close()
	select {
	case <-s.acks.ended:
	case <-hard.Done():
	}
	left, unsettled := s.table.rest()
	s.handBack(hard, unsettled, cut)
	stopUpkeep(hard)

	s.boundsMu.Lock()
	s.releaseBounds()
	s.boundsMu.Unlock()

	finished := int(s.finished.Load())
	unacked := left - len(unsettled) // never confirmed: they are delivered again
	for _, e := range unsettled {
		e.run.outcome(handedBack)
	}
	s.stats.handedBack.Add(int64(left))
	s.report = router.Report{Finished: max(0, finished-unacked), HandedBack: left, Duration: time.Since(s.began)}
	if late {
		s.err = fmt.Errorf("redisbus: drain topic %q: %w", s.topic, router.ErrDrainDeadline)
	}
	if unacked > 0 {
		s.log.Warn("drain: the server did not confirm all acknowledgements, finished messages are delivered again", "messages", unacked)
	}
}

// stopReader ends the reader and reports whether its connection had to be cut,
// so that entries may be on their way to nobody.
func (s *subscription) stopReader(hard context.Context) (cut bool) {
	// Asked again and again, because the first may come just before the read.
	ask := time.NewTicker(5 * time.Millisecond)
	defer ask.Stop()
	ctx, cancel := context.WithTimeout(hard, cutAfter)
	defer cancel()
	patience := ctx.Done()
	var asking sync.WaitGroup
	defer func() {
		// Unless the server hangs: then it ends by the client's time-outs.
		if !cut {
			asking.Wait()
		}
	}()
	free := make(chan struct{}, 1)
	free <- struct{}{}
	for {
		select {
		case <-s.read.ended:
			return cut
		case <-patience:
			patience = nil
			cut = true
			s.read.conn.cut()
		case <-hard.Done():
			// On a shared connection nothing can be cut. The reader ends by
			// itself when its read does, and leaves what it got unread.
			return true
		case <-ask.C:
			if cut {
				s.read.conn.cut() // it may just have made a new one
				continue
			}
			select {
			case <-free:
				asking.Go(func() {
					if !s.read.conn.unblock(ctx) {
						cancel()
					}
					free <- struct{}{}
				})
			default: // the last question is not answered yet
			}
		}
	}
}

// awaitHandlers reports whether the deadline passed before all had returned.
func (s *subscription) awaitHandlers(idle <-chan struct{}) (late bool) {
	select {
	case <-idle:
		return false
	case <-s.deadline:
	}
	s.kill(router.ErrDrainDeadline)
	giveUp := time.NewTimer(abandonAfter)
	defer giveUp.Stop()
	select {
	case <-idle:
	case <-giveUp.C:
		close(s.abandon)
		<-idle
		s.log.Warn("drain: handlers still running after the deadline, their messages are handed back")
	}
	return true
}

// hardStop returns a context that ends grace after the deadline.
func (s *subscription) hardStop() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-s.deadline:
		case <-ctx.Done():
			return
		}
		if sleep(ctx, grace) {
			cancel()
		}
	}()
	return ctx, cancel
}
