package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// InspectorConfig configures an [Inspector]. Client and Topic are required.
type InspectorConfig struct {
	// Client stays yours.
	Client *kgo.Client

	// Topic is looked at.
	Topic string

	// Group is the one whose offsets, lag and members are told.
	Group string
}

// Inspector looks at a topic and a group. It may be used from many goroutines.
type Inspector struct {
	cfg   InspectorConfig
	admin *kadm.Client
}

// NewInspector returns an Inspector, or every problem of the configuration. It
// does not connect.
func NewInspector(cfg InspectorConfig) (*Inspector, error) {
	var errs []error
	if cfg.Client == nil {
		errs = append(errs, errors.New("kafkabus: InspectorConfig.Client: must not be nil"))
	}
	if cfg.Topic == "" {
		errs = append(errs, errors.New("kafkabus: InspectorConfig.Topic: must not be empty"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Inspector{cfg: cfg, admin: kadm.NewClient(cfg.Client)}, nil
}

// TopicInfo is what a topic and a group look like at one moment.
type TopicInfo struct {
	// Connected is false when the brokers could not be asked; then nothing else
	// is known.
	Connected bool

	Topic      string          // its name
	Exists     bool            // else it has no partitions
	Partitions []PartitionInfo // in order

	Group      string   // its name
	GroupState string   // "Stable", "Empty", "PreparingRebalance", "Dead" (it does not exist), ...
	Members    int      // of all processes
	Consumers  []string // the ConsumerName of each member, sorted
	Lag        int64    // the sum of the partitions'
}

// PartitionInfo is one partition.
type PartitionInfo struct {
	Partition   int32 // its number
	Leader      int32 // the broker that leads it
	Replicas    int   // how many brokers have it
	InSync      int   // of them, how many are up to date
	StartOffset int64 // of the oldest record
	EndOffset   int64 // of the next record: the high watermark
	Committed   int64 // by the group; -1: nothing
	Lag         int64 // records not committed; all of them when nothing is
}

// TopicInfo describes the topic and the group, also when one of them does not
// exist. When the brokers cannot be asked it returns an error.
func (i *Inspector) TopicInfo(ctx context.Context) (TopicInfo, error) {
	info := TopicInfo{Topic: i.cfg.Topic, Group: i.cfg.Group}
	topics, err := i.admin.ListTopics(ctx, i.cfg.Topic)
	if err != nil {
		return info, i.failed(err)
	}
	info.Connected = true
	detail := topics[i.cfg.Topic]
	if missing(detail.Err) {
		return info, nil
	}
	if detail.Err != nil {
		return info, i.failed(detail.Err)
	}
	info.Exists = true
	starts, err := i.admin.ListStartOffsets(ctx, i.cfg.Topic)
	if err != nil {
		return info, i.failed(err)
	}
	ends, err := i.admin.ListEndOffsets(ctx, i.cfg.Topic)
	if err != nil {
		return info, i.failed(err)
	}
	var commits kadm.OffsetResponses
	if i.cfg.Group != "" {
		if commits, err = i.admin.FetchOffsets(ctx, i.cfg.Group); err != nil {
			return info, i.failed(err)
		}
	}
	for _, p := range detail.Partitions.Sorted() {
		start, _ := starts.Lookup(i.cfg.Topic, p.Partition)
		end, _ := ends.Lookup(i.cfg.Topic, p.Partition)
		one := PartitionInfo{
			Partition: p.Partition, Leader: p.Leader, Replicas: len(p.Replicas), InSync: len(p.ISR),
			StartOffset: start.Offset, EndOffset: end.Offset, Committed: -1,
		}
		from := one.StartOffset
		if c, ok := commits.Lookup(i.cfg.Topic, p.Partition); ok && c.Err == nil && c.At >= 0 {
			one.Committed = c.At
			from = max(from, c.At)
		}
		one.Lag = max(0, one.EndOffset-from)
		info.Lag += one.Lag
		info.Partitions = append(info.Partitions, one)
	}
	return info, i.group(ctx, &info)
}

func (i *Inspector) group(ctx context.Context, info *TopicInfo) error {
	if i.cfg.Group == "" {
		return nil
	}
	groups, err := i.admin.DescribeGroups(ctx, i.cfg.Group)
	if err != nil {
		return i.failed(err)
	}
	classic := groups[i.cfg.Group]
	info.GroupState = classic.State
	for _, m := range classic.Members {
		info.Consumers = append(info.Consumers, m.ClientID)
	}
	if len(info.Consumers) == 0 {
		// A group of KIP-848 is dead to those who ask in the classic way; brokers
		// without it, and groups that are not of it, answer with an error.
		modern, err := i.admin.DescribeConsumerGroups(ctx, i.cfg.Group)
		if group := modern[i.cfg.Group]; err == nil && group.Err == nil {
			info.GroupState = group.State
			for _, m := range group.Members {
				info.Consumers = append(info.Consumers, m.ClientID)
			}
		}
	}
	slices.Sort(info.Consumers)
	info.Members = len(info.Consumers)
	return nil
}

// Lag returns how many records the group has not committed, over all
// partitions.
func (i *Inspector) Lag(ctx context.Context) (int64, error) {
	info, err := i.TopicInfo(ctx)
	return info.Lag, err
}

func (i *Inspector) failed(err error) error {
	return fmt.Errorf("kafkabus: look at topic %q: %w", i.cfg.Topic, refused(err))
}
