package rabbitbus

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/router"
)

const (
	// grace is how long after the deadline a drain may take to end: handlers
	// see the end of their context, the last acks are sent, the rest is handed
	// back. What is not done by then is given up.
	grace = time.Second

	// abandonAfter is the part of grace that handlers get to return in.
	abandonAfter = 500 * time.Millisecond
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
	s.bounds.add(ctx, cancel)
}

// drain stops the consumer, waits for the handlers, sends the acks, and hands
// back the rest, in this order. idle is closed when all workers have ended,
// consumed when nothing is taken in any more.
func (s *subscription) drain(idle, consumed <-chan struct{}) {
	s.lanes.Close()
	hard, release := s.hardStop()
	defer release()
	<-consumed
	sess := s.current()
	if sess != nil {
		sess.stopIntake(hard)
	}
	late := s.awaitHandlers(idle)
	left := 0
	if sess != nil {
		left = sess.end(hard)
	}
	s.bounds.end()
	if busy := int(s.busy.Load()); busy > left {
		left = busy // handlers of a channel that was lost
	}
	s.stats.handedBack.Add(int64(left))
	s.report = router.Report{Finished: int(s.finished.Load()), HandedBack: left, Duration: time.Since(s.began)}
	if late {
		s.err = fmt.Errorf("rabbitbus: drain topic %q: %w", s.topic, router.ErrDrainDeadline)
	}
}

// stopIntake cancels the consumer. What the broker has sent by then is in the
// client's hands or on its way, and handed back with the channel.
func (s *session) stopIntake(ctx context.Context) {
	if s.isLost() {
		return
	}
	_, err := within(ctx, func() (struct{}, error) { return struct{}{}, s.ch.Cancel(s.tag, false) }, nil)
	if err != nil {
		s.sub.log.Debug("cancelling the consumer failed", "error", err)
	}
}

// end acknowledges what is settled and closes the channel, which makes the
// broker requeue the rest, in its place. It returns how many were left.
func (s *session) end(hard context.Context) (left int) {
	_, err := within(hard, func() (struct{}, error) {
		s.acks.flush()
		if s.isLost() {
			return struct{}{}, nil
		}
		// An answer means that the broker has read the acks before it.
		_, err := s.ch.QueueDeclarePassive(s.sub.queue, false, false, false, false, nil)
		return struct{}{}, err
	}, nil)
	if err != nil && !s.isLost() {
		s.sub.log.Warn("drain: the broker did not answer after the last acknowledgements, finished messages may be delivered again", "error", refused(err))
	}
	_, left = s.table.len()
	if s.isLost() {
		left = 0
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = s.ch.Close() // a connection that hangs ends with its heartbeat, or with the client
		s.lose(amqp.ErrClosed)
		for range s.deliveries { // what was cancelled must be drained for the client to end
		}
	}()
	select {
	case <-closed:
		s.ended.Wait()
	case <-hard.Done():
		s.lose(amqp.ErrClosed)
	}
	return left
}

// awaitHandlers reports whether the deadline passed before all had returned.
func (s *subscription) awaitHandlers(idle <-chan struct{}) (late bool) {
	select {
	case <-idle:
		return false
	case <-s.bounds.deadline:
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
		case <-s.bounds.deadline:
		case <-ctx.Done():
			return
		}
		if sleep(ctx, grace) {
			cancel()
		}
	}()
	return ctx, cancel
}
