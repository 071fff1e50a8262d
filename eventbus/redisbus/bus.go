package redisbus

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/eventbus/internal/transport"
)

// Bus is a bus on Redis Streams: all verbs of [eventbus.Bus], and a look at the
// stream. Open one with [Open]; the zero value is not usable. All its methods
// may be called from many goroutines.
type Bus struct {
	*eventbus.Bus

	sub     *Subscriber
	inspect *Inspector
	reset   atomic.Pointer[SubscriberStats] // the transport's counts at the last ResetStats
	unseen  transport.Unseen
}

// Open connects to the server and returns a bus that can publish; Run or Mount
// begins to consume. The error joins every problem of the configuration, or is
// a [*ConnectError]; it comes within ConnectTimeout. Nothing is created on the
// server until the first event or the first Run.
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
	b, err := open(client, closeClient, cfg)
	if err != nil {
		return nil, errors.Join(err, closeClient())
	}
	return b, nil
}

// connect returns the client, and what closes it if it is not somebody else's.
func (c Config) connect(ctx context.Context) (redis.UniversalClient, func() error, error) {
	if c.Client == nil {
		client, err := OpenClient(ctx, c.client())
		if err != nil {
			return nil, nil, err
		}
		return client, client.Close, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.ConnectTimeout, DefaultConnectTimeout))
	defer cancel()
	if err := c.Client.Ping(ctx).Err(); err != nil {
		return nil, nil, &ConnectError{Addr: "with the given client", Err: refused(err)}
	}
	return c.Client, func() error { return nil }, nil
}

func open(client redis.UniversalClient, closeClient func() error, cfg Config) (*Bus, error) {
	main, dead := cfg.stream()
	b := &Bus{unseen: transport.Unseen{Dropped: cfg.DisableDLQ}}
	b.reset.Store(&SubscriberStats{})
	pub, err := NewPublisher(PublisherConfig{Client: client, Form: cfg.Form, MaxLen: cfg.MaxLen, MaxAge: cfg.MaxAge})
	if err != nil {
		return nil, err
	}
	store, err := NewStore(StoreConfig{Client: client, Stream: dead, Form: cfg.Form})
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
	b.inspect, err = NewInspector(InspectorConfig{Client: client, Stream: main, DeadLetters: dead, Group: b.sub.cfg.ConsumerGroup})
	if err != nil {
		return nil, err
	}
	facade := cfg.facade(pub, direct.Own{Drainer: b.sub, TellTo: b.unseen.TellTo}, func(context.Context) error {
		return errors.Join(pub.Close(), b.sub.Close(), closeClient())
	})
	if !cfg.DisableDLQ {
		facade.DeadLetters = telling{store, b.sub}
	}
	facade.AddStats, facade.Observed = b.addStats, b.observed(store, cfg.DisableDLQ)
	if b.Bus, err = eventbus.New(facade); err != nil {
		return nil, err
	}
	return b, nil
}

// ConsumerName returns the name of this process in its consumer group.
func (b *Bus) ConsumerName() string { return b.sub.ConsumerName() }

// RecoverPending claims, now, what other consumers of the group, or this one,
// have read and not finished for minIdle, and handles it; see
// [Subscriber.RecoverPending]. Events that handlers gave up on count as DLQ. The
// bus must be running.
func (b *Bus) RecoverPending(ctx context.Context, minIdle time.Duration, maxDeliveries int) (Recovery, error) {
	return b.sub.RecoverPending(ctx, b.Topic(), minIdle, maxDeliveries)
}

// StreamInfo describes the stream and its groups; see [Inspector.StreamInfo].
func (b *Bus) StreamInfo(ctx context.Context) (StreamInfo, error) { return b.inspect.StreamInfo(ctx) }

// ConsumerInfo lists the consumers of the group.
func (b *Bus) ConsumerInfo(ctx context.Context) ([]ConsumerInfo, error) {
	return b.inspect.ConsumerInfo(ctx)
}

// Lag returns how many events the group has not read yet, [UnknownLag] if Redis
// cannot tell.
func (b *Bus) Lag(ctx context.Context) (int64, error) { return b.inspect.Lag(ctx) }

// RemoveDeadConsumers removes the consumers of the group that have asked for
// nothing for idle and have nothing pending; see [Inspector.RemoveDeadConsumers].
func (b *Bus) RemoveDeadConsumers(ctx context.Context, idle time.Duration) ([]string, error) {
	return b.inspect.RemoveDeadConsumers(ctx, idle)
}

// TransportStats returns the counts of the transport since the last ResetStats,
// which have no place in [eventbus.Stats]: entries claimed, lost by trimming, ...
func (b *Bus) TransportStats() SubscriberStats {
	now, then := b.sub.Stats(), b.reset.Load()
	now.Delivered -= then.Delivered
	now.Acked -= then.Acked
	now.Nacked -= then.Nacked
	now.HandedBack -= then.HandedBack
	now.Claimed -= then.Claimed
	now.Buried -= then.Buried
	now.Lost -= then.Lost
	now.TakenOver -= then.TakenOver
	now.Reconnections -= then.Reconnections
	now.Recreations -= then.Recreations
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
	b.unseen.AddTo(s, t.Buried, t.HandedBack)
}

// telling is the store of the bus: it tells the subscriber what was buried, so
// that RecoverPending counts truly.
type telling struct {
	*Store
	sub *Subscriber
}

// Bury buries.
func (s telling) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	id, err := s.Store.Bury(ctx, l)
	if err == nil {
		s.sub.noteBuried(l.Source.Topic, l.Source.ID)
	}
	return id, err
}
