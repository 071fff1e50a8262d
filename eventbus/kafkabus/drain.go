package kafkabus

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-go/leat/router"
)

const (
	// grace is how long after the deadline a drain may take to end: handlers
	// see the end of their context, the last commit is sent, the group is left.
	// What is not done by then is given up.
	grace = time.Second

	// abandonAfter is the part of grace that handlers get to return in.
	abandonAfter = 500 * time.Millisecond

	// leaveTimeout bounds the farewell to a group whose broker does not answer.
	leaveTimeout = 2 * time.Second
)

// drain waits for the handlers, commits, and leaves the group, in this order.
// idle is closed when all workers have ended; stopUpkeep ends the others.
func (s *subscription) drain(idle <-chan struct{}, stopUpkeep func()) {
	hard, release := s.hardStop()
	defer release()
	parts := s.table.all()
	s.table.move(parts)
	s.log.Debug("drain began")
	late := s.awaitHandlers(parts)
	s.lanes.Close()
	<-idle
	stopUpkeep()

	err := s.commits.last(hard, parts)
	if err != nil {
		s.log.Warn("drain: the last commit failed, finished messages are delivered again", "error", refused(err))
	}
	left, again := s.undone(parts)
	s.drop(s.table.all())
	s.leave(hard)

	s.boundsMu.Lock()
	s.releaseBounds()
	s.boundsMu.Unlock()

	s.report = router.Report{
		Finished: max(0, int(s.finished.Load())-again), HandedBack: left + again, Duration: time.Since(s.began),
	}
	if late {
		s.err = fmt.Errorf("kafkabus: drain topic %q: %w", s.topic, router.ErrDrainDeadline)
	}
}

// undone counts what was not finished, and what was and will be delivered again
// all the same.
func (s *subscription) undone(parts []*partition) (left, again int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	for _, p := range parts {
		left += p.open
		again += len(p.window) - p.open // behind a gap
		if p.done != noOffset && p.done > p.committed && p.committed != noOffset {
			again += int(p.done - p.committed)
		}
	}
	return left, again
}

// leave leaves the group, so that others have the partitions at once, and ends
// the client.
func (s *subscription) leave(hard context.Context) {
	s.client.AllowRebalance()
	ctx, cancel := context.WithTimeout(hard, leaveTimeout)
	defer cancel()
	if err := s.client.LeaveGroupContext(ctx); err != nil {
		s.log.Debug("drain: leaving the group failed, it notices by the session time-out", "error", err)
	}
	s.client.CloseAllowingRebalance()
}

// awaitHandlers reports whether the deadline passed before all had returned.
func (s *subscription) awaitHandlers(parts []*partition) (late bool) {
	expired := make(chan time.Time)
	released := make(chan struct{})
	defer close(released)
	go func() {
		select {
		case <-s.deadline:
			close(expired)
		case <-released:
		}
	}()
	if s.awaitQuiet(parts, expired) {
		return false
	}
	s.kill(router.ErrDrainDeadline)
	giveUp := time.NewTimer(abandonAfter)
	defer giveUp.Stop()
	if !s.awaitQuiet(parts, giveUp.C) {
		s.log.Warn("drain: handlers still running after the deadline, their messages are handed back")
	}
	close(s.abandon)
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
