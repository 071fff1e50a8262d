package kafkabus

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joining is whether this member waits for the others to join. The client
// commits nothing meanwhile; the brokers would take it. The client calls it.
type joining struct{ atomic.Bool }

var (
	_ kgo.HookBrokerWrite = (*joining)(nil)
	_ kgo.HookBrokerRead  = (*joining)(nil)
)

// OnBrokerWrite is called for each request.
func (j *joining) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if kmsg.Key(key) == kmsg.JoinGroup {
		j.Store(true)
	}
}

// OnBrokerRead is called for each answer.
func (j *joining) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if kmsg.Key(key) == kmsg.JoinGroup {
		j.Store(false)
	}
}

// commitAside commits as the member that it was before the join that is under
// way. When that is over, the brokers refuse it.
func (c *committer) commitAside(ctx context.Context, offsets map[int32]kgo.EpochOffset, meta map[int32]string) (*kmsg.OffsetCommitResponse, error) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = c.s.cfg.ConsumerGroup
	req.MemberID, req.Generation = c.s.client.GroupMetadata()
	if c.s.cfg.StaticMembership {
		req.InstanceID = &c.s.name
	}
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = c.s.topic
	c.s.table.mu.Lock()
	topic.TopicID = c.s.topicID
	c.s.table.mu.Unlock()
	for id, at := range offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = id, at.Offset, at.Epoch
		text := meta[id]
		p.Metadata = &text
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req.RequestWith(ctx, c.s.client)
}
