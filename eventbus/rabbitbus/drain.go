package rabbitbus

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/router"
)

// drain stops the consumer, waits for the handlers, sends the acks, and hands
// back the rest, in this order. idle is closed when all workers have ended,
// consumed when nothing is taken in any more.
func (s *subscription) drain(idle, consumed <-chan struct{}) router.Report {
	s.lanes.Close()
	hard, release := s.ending.Hard()
	defer release()
	<-consumed
	sess := s.current()
	if sess != nil {
		sess.stopIntake(hard)
	}
	late := s.ending.AwaitHandlers(idle, s.kill, s.log)
	left := 0
	if sess != nil {
		left = sess.end(hard)
	}
	if busy := int(s.busy.Load()); busy > left {
		left = busy // handlers of a channel that was lost
	}
	s.stats.handedBack.Add(int64(left))
	var err error
	if late {
		err = fmt.Errorf("rabbitbus: drain topic %q: %w", s.topic, router.ErrDrainDeadline)
	}
	return s.ending.Report(int(s.finished.Load()), left, err)
}

// stopIntake cancels the consumer. What the broker has sent by then is in the
// client's hands or on its way, and handed back with the channel. A single active
// consumer stays until then: the next one would begin with what comes later, and
// could pass what is still handled here.
func (s *session) stopIntake(ctx context.Context) {
	if s.isLost() || s.sub.cfg.Topology.single() {
		return
	}
	_, err := within(ctx, func() (struct{}, error) {
		s.asking.Lock()
		defer s.asking.Unlock()
		return struct{}{}, s.ch.Cancel(s.tag, false)
	}, nil)
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
		_, err := s.applied()
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
