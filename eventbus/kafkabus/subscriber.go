package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/router"
)

// Subscriber delivers the records of Kafka topics to a consumer group; each
// Subscribe is a member of it. See the package documentation for what it
// promises.
//
// A message's context carries a *middleware.Delivery with partition and offset.
// It does not end with the context of Subscribe: it ends when the message is
// acked or nacked, with the cause [ErrPartitionLost], or with the cause
// router.ErrDrainDeadline. A nack outside of a drain delivers the message again
// after NackDelay.
//
// It may be used from many goroutines.
type Subscriber struct {
	cfg   SubscriberConfig
	stats *counters

	mu     sync.Mutex
	closed bool
	subs   map[*subscription]string // their names in the group
}

// NewSubscriber returns a Subscriber, or every problem of the configuration. It
// does not connect.
func NewSubscriber(cfg SubscriberConfig) (*Subscriber, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Subscriber{cfg: cfg.withDefaults(), stats: &counters{}, subs: make(map[*subscription]string)}, nil
}

// ConsumerName returns the name of this consumer in its group.
func (s *Subscriber) ConsumerName() string { return s.cfg.ConsumerName }

// Subscribe creates the topic if it is not there and that is allowed, and joins
// the group. An error of the brokers or the connection is returned at once;
// later ones end nothing. Which partitions it gets, and when, is the group's
// affair: the first messages come when all members have agreed.
//
// When ctx ends, this subscription drains within DrainTimeout, and the channel
// is closed. After Close or Drain, Subscribe returns [ErrClosed].
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic == "" {
		return nil, errors.New("kafkabus: subscribe: the topic must not be empty")
	}
	if s.isClosed() {
		return nil, ErrClosed
	}
	if err := s.ensure(ctx, topic); err != nil {
		return nil, fmt.Errorf("kafkabus: subscribe to %q: %w", topic, err)
	}

	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	name := s.freeName(topic)
	sub, err := s.newSubscription(ctx, topic, name)
	if err != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("kafkabus: subscribe to %q: %w", topic, err)
	}
	s.subs[sub] = name
	s.mu.Unlock()

	unwatch := context.AfterFunc(ctx, func() { sub.ending.Begin(context.WithoutCancel(ctx)) })
	sub.start(func() {
		unwatch()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, sub)
	})
	return sub.out, nil
}

func (s *Subscriber) ensure(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, DefaultDeliveryTimeout)
	defer cancel()
	_, err := ensureTopic(ctx, s.cfg.Client, topic, s.cfg.Topics)
	return err
}

// SubscribeInitialize creates the topic. With StartOffset [Earliest] a group
// that comes later gets what is published from now on.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	if err := s.ensure(context.Background(), topic); err != nil {
		return fmt.Errorf("kafkabus: initialize %q: %w", topic, err)
	}
	return nil
}

// freeName returns a name that no live subscription to the topic has: two
// static members of one name would throw each other out.
func (s *Subscriber) freeName(topic string) string {
	taken := make(map[string]bool)
	for sub, name := range s.subs {
		if sub.topic == topic {
			taken[name] = true
		}
	}
	name := s.cfg.ConsumerName
	for n := 2; taken[name]; n++ {
		name = s.cfg.ConsumerName + "-" + strconv.Itoa(n)
	}
	return name
}

// Drain ends all subscriptions as router.Drainer says. What is finished is
// committed, then the group is left, so that others have the rest at once.
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

// DrainSubscription drains the one subscription whose Subscribe returned out.
func (s *Subscriber) DrainSubscription(ctx context.Context, out <-chan *message.Message) (router.Report, error) {
	s.mu.Lock()
	var endings []*transport.Ending
	for sub := range s.subs {
		if (<-chan *message.Message)(sub.out) == out {
			endings = append(endings, sub.ending)
		}
	}
	s.mu.Unlock()
	return transport.EndAll(ctx, endings)
}

// Close drains within DrainTimeout. The client stays open. A second call
// returns nil.
func (s *Subscriber) Close() error {
	_, err := s.Drain(context.Background())
	return err
}

func (s *Subscriber) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
