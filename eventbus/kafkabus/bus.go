package kafkabus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/eventbus/internal/transport"
)

// Bus is a bus on Kafka: all verbs of [eventbus.Bus], and a look at the topic.
// Open one with [Open]; the zero value is not usable. All its methods may be
// called from many goroutines.
type Bus struct {
	*eventbus.Bus

	sub     *Subscriber
	inspect *Inspector
	reset   atomic.Pointer[SubscriberStats] // the transport's counts at the last ResetStats
	unseen  transport.Unseen
}

// Open connects to the cluster, sees to the topics, and returns a bus that can
// publish; Run or Mount begins to consume, and only then the group is joined.
// The error joins every problem of the configuration, is a [*ConnectError]
// within ConnectTimeout, or a [*TopicError].
//
// Shutdown closes the connections, except those of a Client that was given.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, closeClient, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	b, err := openOn(ctx, client, closeClient, cfg)
	if err != nil {
		closeClient()
		return nil, err
	}
	return b, nil
}

// connect returns the client, and what closes it if it is not somebody else's.
func (c Config) connect(ctx context.Context) (*kgo.Client, func(), error) {
	if c.Client == nil {
		client, err := OpenClient(ctx, c.client())
		if err != nil {
			return nil, nil, err
		}
		return client, client.Close, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.ConnectTimeout, DefaultConnectTimeout))
	defer cancel()
	if err := c.Client.Ping(ctx); err != nil {
		return nil, nil, &ConnectError{Addr: "with the given client", Err: refused(err)}
	}
	return c.Client, func() {}, nil
}

// ensureTopics creates the topics: the dead letters get as many partitions as
// the main one has, so that they keep its order.
func (c Config) ensureTopics(ctx context.Context, client *kgo.Client) (letters TopicConfig, err error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultDeliveryTimeout)
	defer cancel()
	main, dead := c.topics()
	letters = c.Topics
	if letters.Partitions, err = ensureTopic(ctx, client, main, c.Topics); err != nil || c.DisableDLQ {
		return letters, err
	}
	_, err = ensureTopic(ctx, client, dead, letters)
	return letters, err
}

func openOn(ctx context.Context, client *kgo.Client, closeClient func(), cfg Config) (*Bus, error) {
	main, dead := cfg.topics()
	letters, err := cfg.ensureTopics(ctx, client)
	if err != nil {
		var known *TopicError
		if !errors.As(err, &known) {
			err = fmt.Errorf("kafkabus: open: topic %q: %w", main, refused(err))
		}
		return nil, err
	}
	b := &Bus{unseen: transport.Unseen{Dropped: cfg.DisableDLQ}}
	b.reset.Store(&SubscriberStats{})
	pub, err := NewPublisher(PublisherConfig{Client: client, Key: cfg.recordKey(), Topics: cfg.Topics, DeliveryTimeout: cfg.DeliveryTimeout})
	if err != nil {
		return nil, err
	}
	store, err := NewStore(StoreConfig{Client: client, Topic: dead, Topics: letters})
	if err != nil {
		return nil, err
	}
	subscriber := cfg.subscriber()
	subscriber.Client = client
	subscriber.DeadLetters = store
	if cfg.DisableDLQ {
		subscriber.DeadLetters = transport.Drop{Log: cfg.Logger}
	}
	subscriber.OnDead = b.unseen.Died
	if b.sub, err = NewSubscriber(subscriber); err != nil {
		return nil, err
	}
	b.inspect, err = NewInspector(InspectorConfig{Client: client, Topic: main, Group: b.sub.cfg.ConsumerGroup})
	if err != nil {
		return nil, err
	}
	facade := cfg.facade(pub, direct.Own{Drainer: b.sub, TellTo: b.unseen.TellTo}, func(context.Context) error {
		err := errors.Join(pub.Close(), b.sub.Close())
		closeClient()
		return err
	})
	if !cfg.DisableDLQ {
		facade.DeadLetters = store
	}
	facade.AddStats, facade.Observed = b.addStats, b.observed(store, cfg.DisableDLQ)
	if b.Bus, err = eventbus.New(facade); err != nil {
		return nil, err
	}
	return b, nil
}

// recordKey is Key, except for a replayed letter, which keeps the key that it
// had.
func (c Config) recordKey() func(*message.Message) string {
	if c.Key == nil {
		return nil
	}
	return func(m *message.Message) string {
		if k := m.Metadata[dlq.KeyKey]; k != "" {
			return k
		}
		return c.Key(m)
	}
}

// ConsumerName returns the name of this process in its consumer group.
func (b *Bus) ConsumerName() string { return b.sub.ConsumerName() }

// TopicInfo describes the topic and the group; see [Inspector.TopicInfo].
func (b *Bus) TopicInfo(ctx context.Context) (TopicInfo, error) { return b.inspect.TopicInfo(ctx) }

// Lag returns how many records the group has not committed yet, over all
// partitions.
func (b *Bus) Lag(ctx context.Context) (int64, error) { return b.inspect.Lag(ctx) }

// TransportStats returns the counts of the transport since the last ResetStats,
// which have no place in [eventbus.Stats]: commits, pauses, lost records, ...
func (b *Bus) TransportStats() SubscriberStats {
	now, then := b.sub.Stats(), b.reset.Load()
	now.Delivered -= then.Delivered
	now.Acked -= then.Acked
	now.Nacked -= then.Nacked
	now.HandedBack -= then.HandedBack
	now.Buried -= then.Buried
	now.Tombstones -= then.Tombstones
	now.Lost -= then.Lost
	now.Rebalances -= then.Rebalances
	now.LostPartition -= then.LostPartition
	now.Commits -= then.Commits
	now.Pauses -= then.Pauses
	now.Reconnections -= then.Reconnections
	return now
}

// ResetStats sets every count to zero, the transport's too.
func (b *Bus) ResetStats() {
	now := b.sub.Stats()
	b.reset.Store(&now)
	b.unseen.Reset()
	b.Bus.ResetStats()
}

// addStats adds what only the transport sees.
func (b *Bus) addStats(s *eventbus.Stats) {
	t := b.TransportStats()
	s.Reconnections += t.Reconnections
	s.Rebalances += t.Rebalances
	b.unseen.AddTo(s, t.Buried, t.HandedBack)
}
