package kafkabus

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/router"
)

// These bound the farewell to a group whose broker does not answer: by the
// member's own client, and then by another one.
const (
	leaveTimeout   = 2 * time.Second
	signOffTimeout = 500 * time.Millisecond
)

// drain waits for the handlers, commits, and leaves the group, in this order.
// idle is closed when all workers have ended; stopUpkeep ends the others.
func (s *subscription) drain(idle <-chan struct{}, stopUpkeep func()) router.Report {
	hard, release := s.ending.Hard()
	defer release()
	parts := s.table.all()
	s.table.move(parts)
	s.log.Debug("drain began")
	late := s.awaitHandlers(parts)
	s.lanes.Close()
	<-idle
	stopUpkeep()

	if err := s.commits.last(hard, parts); err != nil {
		s.log.Warn("drain: the last commit failed, finished messages are delivered again", "error", refused(err))
	}
	left, again := s.undone(parts)
	s.drop(s.table.all())
	s.leave(hard)

	var err error
	if late {
		err = fmt.Errorf("kafkabus: drain topic %q: %w", s.topic, router.ErrDrainDeadline)
	}
	return s.ending.Report(max(0, int(s.finished.Load())-again), left+again, err)
}

// undone counts what was not finished, and what was and will be delivered again
// all the same.
func (s *subscription) undone(parts []*partition) (left, again int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	for _, p := range parts {
		left += p.open
		for _, e := range p.window {
			if e.settled && !e.empty {
				again++ // behind a gap
			}
		}
		if p.done != noOffset && p.done > p.committed && p.committed != noOffset {
			again += int(p.done - p.committed)
		}
	}
	return left, again
}

// leave leaves the group, so that others have the partitions at once, and ends
// the client. A join that is under way is answered when all members have come:
// that is not waited for.
func (s *subscription) leave(hard context.Context) {
	s.client.AllowRebalance()
	ctx, cancel := context.WithTimeout(hard, leaveTimeout)
	defer cancel()
	err := s.client.LeaveGroupContext(ctx)
	if err != nil {
		s.cut()
	}
	s.client.CloseAllowingRebalance()
	s.cut()
	if err != nil && !s.cfg.StaticMembership && !s.cfg.ConsumerProtocol {
		err = s.signOff()
	}
	if err != nil {
		s.log.Debug("drain: leaving the group failed, it notices by the session time-out", "error", err)
	}
}

// signOff takes this member, whose client is closed, out of the group.
func (s *subscription) signOff() error {
	ctx, cancel := context.WithTimeout(context.Background(), signOffTimeout)
	defer cancel()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = s.cfg.ConsumerGroup
	req.MemberID, _ = s.client.GroupMetadata()
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = req.MemberID
	req.Members = append(req.Members, member)
	resp, err := req.RequestWith(ctx, s.cfg.Client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// awaitHandlers reports whether the deadline passed before all that is worth
// waiting for had returned.
func (s *subscription) awaitHandlers(parts []*partition) (late bool) {
	if s.awaitQuiet(parts, s.ending.Deadline) {
		return false
	}
	s.kill(router.ErrDrainDeadline)
	giveUp, cancel := context.WithTimeout(context.Background(), transport.AbandonAfter)
	defer cancel()
	if !s.awaitQuiet(parts, giveUp.Done()) {
		s.log.Warn("drain: handlers still running after the deadline, their messages are handed back")
	}
	s.ending.GiveUp()
	return true
}
