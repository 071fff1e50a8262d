package router

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// grace is how long after the deadline a drain may take to end: handlers
	// see the end of their context, the last acks are sent, the inner
	// subscription closes. What is not done by then is given up.
	grace = time.Second

	// abandonAfter is the part of grace that handlers get to return in.
	abandonAfter = 500 * time.Millisecond

	// nudgeAfter is how long an inner subscription may take to close its
	// channel before what it still waits for is nacked: watermill-amqp looks at
	// nothing but the message's ack or nack once it has delivered it.
	nudgeAfter = 100 * time.Millisecond
)

// errInnerOpen tells that the broker may not have everything back yet.
var errInnerOpen = errors.New("the inner subscriber did not close its channel")

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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bounds = append(s.bounds, func() { unwatch(); cancel() })
	if s.ended {
		s.releaseBounds()
	}
}

// releaseBounds is called with mu held.
func (s *subscription) releaseBounds() {
	s.ended = true
	for _, free := range s.bounds {
		free()
	}
	s.bounds = nil
}

// drain ends the subscription. On return all workers have ended and in is not
// read any more.
func (s *subscription) drain() {
	s.stopOnce.Do(func() { // ended by itself: nothing is left to wait for
		s.began = time.Now()
		close(s.stopping)
	})
	for _, m := range s.lanes.Close() {
		s.hold(m)
	}
	late := s.awaitHandlers()
	hard := s.hardStop()
	s.awaitNativeAcks(hard)
	open := s.closeInner(hard)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseBounds()
	s.report = Report{Finished: int(s.finished.Load()), HandedBack: len(s.held), Duration: time.Since(s.began)}
	switch {
	case late:
		s.err = fmt.Errorf("router: drain topic %s: %w", s.topic, ErrDrainDeadline)
	case open:
		s.err = fmt.Errorf("router: drain topic %s: %w", s.topic, errInnerOpen)
	}
}

// awaitHandlers reports whether the deadline passed before all had returned.
func (s *subscription) awaitHandlers() (late bool) {
	select {
	case <-s.idle:
		return false
	case <-s.deadline:
	}
	s.kill(ErrDrainDeadline)
	giveUp := time.NewTimer(abandonAfter)
	defer giveUp.Stop()
	select {
	case <-s.idle:
	case <-giveUp.C:
		close(s.abandon)
		<-s.idle
		s.log.Warn("drain: handlers still running after the deadline, their messages are handed back")
	}
	return true
}

// hardStop returns a channel that is closed grace after the deadline.
func (s *subscription) hardStop() <-chan struct{} {
	hard := make(chan struct{})
	go func() {
		select {
		case <-s.deadline:
		case <-s.done:
			return
		}
		after := time.NewTimer(grace - abandonAfter)
		defer after.Stop()
		select {
		case <-after.C:
			close(hard)
		case <-s.done:
		}
	}()
	return hard
}

// awaitNativeAcks gives the inner subscriber the time to tell its broker what
// was acked. What it delivers meanwhile is its sign that it went on.
func (s *subscription) awaitNativeAcks(hard <-chan struct{}) {
	for s.in != nil {
		left, sign := s.settles.wait(s.cfg.SettleTimeout)
		if left == 0 {
			return
		}
		timer := time.NewTimer(left)
		select {
		case m, ok := <-s.in:
			if !ok {
				s.in = nil
				break
			}
			s.settles.received()
			s.hold(m)
		case <-sign:
		case <-timer.C:
		case <-hard:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// closeInner ends the inner subscription and reports whether its channel was
// still open when the patience ended.
func (s *subscription) closeInner(hard <-chan struct{}) (open bool) {
	s.cancelIn()
	nudge := time.NewTimer(nudgeAfter)
	defer nudge.Stop()
	nudged := false
	for s.in != nil {
		select {
		case m, ok := <-s.in:
			if !ok {
				s.in = nil
				break
			}
			if nudged {
				m.Nack()
			} else {
				s.hold(m)
			}
		case <-nudge.C:
			nudged = true
			s.nackHeld()
		case <-hard:
			s.log.Error("drain: the inner subscriber did not close its channel")
			return true
		}
	}
	return false
}

// nackHeld hands back by nack: the one place that does, at shutdown only.
func (s *subscription) nackHeld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.held {
		m.Nack()
	}
}
