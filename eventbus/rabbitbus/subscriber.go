package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/router"
)

// Subscriber delivers the messages of the queues of a consumer group; the topic
// is the name of the exchange. See the package documentation for what it
// promises.
//
// A message's context carries a *middleware.Delivery with the delivery tag and,
// on quorum queues, the delivery count. It does not end with the context of
// Subscribe: it ends when the message is acked or nacked, or with the cause
// router.ErrDrainDeadline. A nack outside of a drain delivers the message again
// after NackDelay.
//
// It may be used from many goroutines.
type Subscriber struct {
	cfg   SubscriberConfig
	stats *counters

	mu     sync.Mutex
	closed bool
	subs   map[*subscription]struct{}
	plans  map[string]*plan // by topic
}

var _ router.SubscriptionDrainer = (*Subscriber)(nil)

// NewSubscriber returns a Subscriber, or every problem of the configuration. It
// does not connect.
func NewSubscriber(cfg SubscriberConfig) (*Subscriber, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Subscriber{
		cfg: cfg.withDefaults(), stats: &counters{}, subs: make(map[*subscription]struct{}), plans: make(map[string]*plan),
	}, nil
}

// ConsumerName returns the name of this consumer in its group.
func (s *Subscriber) ConsumerName() string { return s.cfg.ConsumerName }

// subscribeTimeout bounds a Subscribe whose context has no deadline.
const subscribeTimeout = 30 * time.Second

// Subscribe sees to exchange, queue and bindings as Topology says, and begins to
// consume. An error of the broker or the connection is returned at once; later
// ones end nothing.
//
// When ctx ends, this subscription drains within DrainTimeout, and the channel
// is closed. After Close or Drain, Subscribe returns [ErrClosed].
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic == "" {
		return nil, errors.New("rabbitbus: subscribe: the topic must not be empty")
	}
	if err := checkShort("the queue's name", DeadQueueName(QueueName(topic, s.cfg.ConsumerGroup))); err != nil {
		return nil, fmt.Errorf("rabbitbus: subscribe: %w", err)
	}
	if s.isClosed() {
		return nil, ErrClosed
	}
	sub := s.newSubscription(ctx, topic)
	opening, cancel := context.WithTimeout(ctx, subscribeTimeout)
	first, err := sub.open(opening)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("rabbitbus: subscribe %q: %w", topic, err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		first.discard()
		return nil, ErrClosed
	}
	s.subs[sub] = struct{}{}
	s.mu.Unlock()

	unwatch := context.AfterFunc(ctx, func() { sub.ending.Begin(context.WithoutCancel(ctx)) })
	sub.start(first, func() {
		unwatch()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, sub)
	})
	return sub.out, nil
}

// SubscribeInitialize sees to exchange, queue and bindings, so that what is
// published from now on is kept for the group. They are there afterwards or the
// error is not nil.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), subscribeTimeout)
	defer cancel()
	if err := s.cfg.Client.ensure(ctx, s.cfg.Topology.Mode, s.planOf(topic).now()); err != nil {
		return fmt.Errorf("rabbitbus: initialize %q: %w", topic, err)
	}
	return nil
}

// Drain ends all subscriptions as router.Drainer says. What is handed back is
// requeued by the broker, where it was, at once.
func (s *Subscriber) Drain(ctx context.Context) (router.Report, error) {
	s.mu.Lock()
	s.closed = true
	var endings []*transport.Ending
	for sub := range s.subs {
		endings = append(endings, sub.ending)
	}
	s.mu.Unlock()
	return transport.EndAll(ctx, endings)
}

// DrainSubscription does what Drain does for the one subscription whose
// Subscribe returned out; the others go on.
func (s *Subscriber) DrainSubscription(ctx context.Context, out <-chan *message.Message) (router.Report, error) {
	s.mu.Lock()
	var found *subscription
	for sub := range s.subs {
		if sub.out == out {
			found = sub
		}
	}
	s.mu.Unlock()
	if found == nil {
		return router.Report{}, nil
	}
	found.ending.Begin(ctx)
	return found.ending.Result()
}

// Close drains within DrainTimeout. The client stays open. A second call
// returns nil.
func (s *Subscriber) Close() error {
	_, err := s.Drain(context.Background())
	return err
}

// Stats returns the counts at this moment.
func (s *Subscriber) Stats() SubscriberStats {
	c := s.stats
	stats := SubscriberStats{
		Delivered: c.delivered.Load(), Acked: c.acked.Load(), Nacked: c.nacked.Load(), HandedBack: c.handedBack.Load(),
		Buried: c.buried.Load(), Voided: c.voided.Load(), Repeated: c.repeated.Load(), Reconnections: c.reconnections.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs {
		stats.InFlight += sub.inFlight()
	}
	return stats
}

func (s *Subscriber) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
