package redisbus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/leat-go/leat/router"
)

// cutAfter is how long the server gets to wake a blocked read.
const cutAfter = 250 * time.Millisecond

// drain ends the reader, waits for the handlers, sends the acks, and hands
// back the rest, in this order. idle is closed when all workers have ended. The
// heartbeat ends before anything is handed back: it would tell that this is held.
func (s *subscription) drain(idle <-chan struct{}, stopHeartbeat, stopAcks func(hard context.Context)) router.Report {
	s.lanes.Close()
	hard, release := s.ending.Hard()
	defer release()
	cut := s.stopReader(hard)
	late := s.ending.AwaitHandlers(idle, s.kill, s.log)

	s.acks.close()
	select {
	case <-s.acks.ended:
	case <-hard.Done():
	}
	stopHeartbeat(hard)
	left, unsettled := s.table.rest()
	s.handBack(hard, unsettled, cut)
	stopAcks(hard)

	finished := int(s.finished.Load())
	unacked := left - len(unsettled) // never confirmed: they are delivered again
	for _, e := range unsettled {
		e.run.outcome(handedBack)
	}
	s.stats.handedBack.Add(int64(left))
	var err error
	if late {
		err = fmt.Errorf("redisbus: drain topic %q: %w", s.topic, router.ErrDrainDeadline)
	}
	if unacked > 0 {
		s.log.Warn("drain: the server did not confirm all acknowledgements, finished messages are delivered again", "messages", unacked)
	}
	return s.ending.Report(max(0, finished-unacked), left, err)
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
