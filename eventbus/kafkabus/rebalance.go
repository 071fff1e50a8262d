package kafkabus

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/router"
)

// The client calls these, one at a time, and never between a poll and
// AllowRebalance.

// assigned takes partitions on.
func (s *subscription) assigned(_ context.Context, client *kgo.Client, got map[string][]int32) {
	ids := got[s.topic]
	if s.joined {
		s.stats.rebalances.Add(1) // to join is not to share anew
	}
	s.joined = true
	if len(ids) == 0 {
		return
	}
	s.table.mu.Lock()
	for _, id := range ids {
		p := newPartition(s.live, id)
		select {
		case <-s.ending.Stopping:
			p.move()
		default:
		}
		s.table.parts[id] = p
	}
	s.table.mu.Unlock()
	client.ResumeFetchPartitions(map[string][]int32{s.topic: ids}) // a pause outlives an owner
	s.log.Info("partitions assigned", "partitions", ids)
}

// offsetsFetched learns where the partitions begin, and what their last owners
// had to say.
func (s *subscription) offsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	note := func(id int32, offset int64, meta *string) {
		p := s.table.parts[id]
		if p == nil || p.crash.asked || offset < 0 {
			return
		}
		p.committed, p.next = offset, offset
		if meta != nil {
			p.said = *meta
			p.crash = inherit(*meta)
			if p.crash.starts > 0 {
				p.unsure = offset + int64(s.cfg.MaxInFlight)
			}
		}
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			note(p.Partition, p.Offset, p.Metadata)
		}
	}
	for _, group := range resp.Groups {
		for _, topic := range group.Topics {
			s.topicID = topic.TopicID
			for _, p := range topic.Partitions {
				note(p.Partition, p.Offset, p.Metadata)
			}
		}
	}
	return nil
}

// revoked gives partitions up: their running handlers, and what is before them,
// get RevokeTimeout to finish, then their contexts end; what is done is
// committed before the group goes on.
func (s *subscription) revoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	parts := s.table.some(gone[s.topic])
	if len(parts) == 0 {
		return
	}
	s.table.move(parts)
	finish, cancel := context.WithTimeout(context.Background(), s.cfg.RevokeTimeout)
	defer cancel()
	if !s.awaitQuiet(parts, finish.Done()) {
		for _, p := range parts {
			p.kill(ErrPartitionLost)
		}
		giveUp, cancel := context.WithTimeout(context.Background(), transport.AbandonAfter)
		defer cancel()
		s.awaitQuiet(parts, giveUp.Done())
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if err := s.commits.last(ctx, parts); err != nil {
		s.log.Warn("partitions revoked: what was done could not be committed and is done again", "error", refused(err))
	}
	s.drop(parts)
	s.log.Info("partitions revoked", "partitions", gone[s.topic])
}

// lost learns that partitions are somebody else's already.
func (s *subscription) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	parts := s.table.some(gone[s.topic])
	if len(parts) == 0 {
		return
	}
	s.stats.lostPartitions.Add(int64(len(parts)))
	s.table.move(parts)
	for _, p := range parts {
		p.kill(ErrPartitionLost)
	}
	// A commit that is under way carries the old generation, which is refused.
	// One that would come later finds nothing to say.
	s.drop(parts)
	s.log.Warn("partitions lost: the group and this member did not hear of each other, what it had in hand may be handled by another", "partitions", gone[s.topic])
}

// awaitQuiet waits until nothing of the partitions is worth waiting for, and
// reports false when the time is up or a drain has given up.
func (s *subscription) awaitQuiet(parts []*partition, late <-chan struct{}) bool {
	again := time.NewTicker(10 * time.Millisecond) // a rebalance and a drain may both wait for the token
	defer again.Stop()
	for _, p := range parts {
		for !s.table.quiet(p) {
			select {
			case <-p.quiet:
			case <-again.C:
			case <-late:
				return false
			case <-s.ending.Abandon:
				return false
			}
		}
	}
	return true
}

// drop forgets partitions. Handlers that still run are left to themselves.
func (s *subscription) drop(parts []*partition) {
	for _, p := range s.forget(parts) {
		s.leaveBehind(p)
	}
}

// forget returns those of the partitions that were ours until now.
func (s *subscription) forget(parts []*partition) (forgotten []*partition) {
	s.commits.mu.Lock()
	defer s.commits.mu.Unlock()
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	for _, p := range parts {
		if p.gone {
			continue
		}
		s.stats.handedBack.Add(int64(p.open))
		p.gone = true
		p.pending, p.window = nil, nil
		p.open, p.bytes, p.want = 0, 0, 0 // it has room: a pause that comes too late is undone
		p.kill(ErrPartitionLost)
		close(p.abandon)
		if s.table.parts[p.id] == p {
			delete(s.table.parts, p.id)
		}
		forgotten = append(forgotten, p)
	}
	return forgotten
}

var (
	_ router.Drainer             = (*Subscriber)(nil)
	_ router.SubscriptionDrainer = (*Subscriber)(nil)
)
