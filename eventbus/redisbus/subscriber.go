package redisbus

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

// Subscriber delivers the entries of Redis Streams to a consumer group; the
// topic is the key of the stream. See the package documentation for what it
// promises.
//
// A message's context carries a *middleware.Delivery with the entry's id and
// delivery count. It does not end with the context of Subscribe: it ends when
// the message is acked or nacked, or with the cause router.ErrDrainDeadline.
// A nack outside of a drain delivers the message again after NackDelay.
//
// It may be used from many goroutines.
type Subscriber struct {
	cfg   SubscriberConfig
	stats *counters

	mu     sync.Mutex
	closed bool
	subs   map[*subscription]struct{}
}

var _ router.Drainer = (*Subscriber)(nil)

// NewSubscriber returns a Subscriber, or every problem of the configuration. It
// does not connect.
func NewSubscriber(cfg SubscriberConfig) (*Subscriber, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Subscriber{cfg: cfg.withDefaults(), stats: &counters{}, subs: make(map[*subscription]struct{})}, nil
}

// ConsumerName returns the name of this consumer in its group.
func (s *Subscriber) ConsumerName() string { return s.cfg.ConsumerName }

// Subscribe creates stream and group if they are not there, and begins to
// deliver: first the entries that this consumer has read and not finished,
// then new ones. An error of the server or the connection is returned at once;
// later ones end nothing.
//
// When ctx ends, this subscription drains within DrainTimeout, and the channel
// is closed. After Close or Drain, Subscribe returns [ErrClosed].
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic == "" {
		return nil, errors.New("redisbus: subscribe: the topic must not be empty")
	}
	if s.isClosed() {
		return nil, ErrClosed
	}
	if err := createGroup(ctx, s.cfg.Client, topic, s.cfg.ConsumerGroup); err != nil {
		return nil, fmt.Errorf("redisbus: subscribe %q: %w", topic, err)
	}

	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	sub := s.newSubscription(ctx, topic, s.freeName(topic))
	s.subs[sub] = struct{}{}
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

// SubscribeInitialize creates stream and group, so that what is published from
// now on is kept for the group. They are there afterwards or the error is not
// nil.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultSocketTimeout)
	defer cancel()
	if err := createGroup(ctx, s.cfg.Client, topic, s.cfg.ConsumerGroup); err != nil {
		return fmt.Errorf("redisbus: initialize %q: %w", topic, err)
	}
	return nil
}

// freeName returns a consumer name that no live subscription to the topic has:
// two would take each other's entries for their own unfinished ones.
func (s *Subscriber) freeName(topic string) string {
	taken := make(map[string]bool)
	for sub := range s.subs {
		if sub.topic == topic {
			taken[sub.consumer] = true
		}
	}
	name := s.cfg.ConsumerName
	for n := 2; taken[name]; n++ {
		name = s.cfg.ConsumerName + "#" + strconv.Itoa(n)
	}
	return name
}

// Drain ends all subscriptions as router.Drainer says. What is handed back is
// marked as idle, so that another consumer takes it within moments, and its
// delivery is not counted.
func (s *Subscriber) Drain(ctx context.Context) (router.Report, error) {
	s.mu.Lock()
	s.closed = true
	var endings []*transport.Ending
	for _, sub := range s.live("") {
		endings = append(endings, sub.ending)
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

// live is called with mu held; an empty topic means all.
func (s *Subscriber) live(topic string) []*subscription {
	var subs []*subscription
	for sub := range s.subs {
		if topic == "" || sub.topic == topic {
			subs = append(subs, sub)
		}
	}
	return subs
}

// noteBuried tells that a handler's dead letter middleware buried an entry
// that is in flight: its ack will not mean that it was handled.
func (s *Subscriber) noteBuried(topic, id string) {
	s.mu.Lock()
	subs := s.live(topic)
	s.mu.Unlock()
	for _, sub := range subs {
		sub.table.bury(id)
	}
}

func (s *Subscriber) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
