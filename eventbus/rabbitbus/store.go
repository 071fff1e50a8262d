package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

// StoreConfig configures a [Store]. Client, Publisher, Exchange and
// ConsumerGroup are required.
type StoreConfig struct {
	// Client looks at the letters; it should not be the publisher's. It stays
	// yours.
	Client *Client

	// Publisher buries. It stays yours.
	Publisher *Publisher

	// Exchange and ConsumerGroup name the queue whose letters these are: they are
	// in {exchange}.{group}.dlq.
	Exchange      string
	ConsumerGroup string

	// Topology says whether exchange and queue of the letters are declared, and
	// how. It must be that of the group's subscriber.
	Topology TopologyConfig
}

// Validate reports every problem of the configuration at once, or nil.
func (c StoreConfig) Validate() error {
	var errs []error
	for _, f := range []struct {
		field   string
		missing bool
	}{
		{"Client", c.Client == nil},
		{"Publisher", c.Publisher == nil},
		{"Exchange", c.Exchange == ""},
		{"ConsumerGroup", c.ConsumerGroup == ""},
	} {
		if f.missing {
			errs = append(errs, fmt.Errorf("rabbitbus: StoreConfig.%s: must not be empty", f.field))
		}
	}
	return errors.Join(append(errs, c.Topology.validate("StoreConfig.Topology"))...)
}

// Store is the dead letter queue of a consumer group, in a queue of RabbitMQ. It
// shows everything in that queue as a letter: its own, those that the broker put
// there by itself (expired, over a length, over the delivery limit), those of the
// Python library, and anything else.
//
// AMQP has no way to look at a queue other than taking from it. So every method
// but Bury and Count holds all letters for a moment, and lets the broker put them
// back, in their order, marked as redelivered. Meanwhile others that look must
// wait: they are kept out by a lock, a queue that only one connection can have. A
// listing has the ids of its letters in memory, and some megabytes of letters: for
// more it looks again.
//
// It may be used from many goroutines.
type Store struct {
	cfg   StoreConfig
	queue string // of the letters
	turn  chan struct{}
	bytes int // of letters that a listing has in memory
}

var (
	_ dlq.Store   = (*Store)(nil)
	_ dlq.Remover = (*Store)(nil)
)

// NewStore returns a Store, or every problem of the configuration. It does not
// connect.
func NewStore(cfg StoreConfig) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, queue: DeadQueueName(QueueName(cfg.Exchange, cfg.ConsumerGroup)), turn: make(chan struct{}, 1), bytes: listBytes}
	s.turn <- struct{}{}
	return s, nil
}

// Bury publishes the letter and returns its id when the broker has confirmed
// it. When the queue is gone it is made again.
func (s *Store) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	l.ID = eventbus.NewID()
	main := QueueName(s.cfg.Exchange, s.cfg.ConsumerGroup)
	dead := DeadExchangeName(s.cfg.Exchange)
	bury := func() error {
		m := l.Message()
		delete(m.Metadata, headerWatermill) // the original's, which a letter of another program may bring
		return errors.Join(s.cfg.Publisher.publish(ctx, dead, destination{key: main, plan: s.letters}, []*message.Message{m})...)
	}
	err := bury()
	var unroutable *UnroutableError
	if errors.As(err, &unroutable) || brokerCode(err) == amqp.NotFound {
		if err := s.declare(ctx); err != nil {
			return "", s.failed("bury", err)
		}
		err = bury()
	}
	if err != nil {
		return "", s.failed("bury", err)
	}
	return l.ID, nil
}

func (s *Store) declare(ctx context.Context) error {
	return s.cfg.Client.ensure(ctx, s.cfg.Topology.Mode, s.letters(""))
}

func (s *Store) letters(string) Topology {
	return s.cfg.Topology.Letters(s.cfg.Exchange, s.cfg.ConsumerGroup)
}

// Count returns how many letters are in the queue, as the broker tells it.
func (s *Store) Count(ctx context.Context) (int64, error) {
	var n atomic.Int64 // a look that ctx ended goes on
	err := s.look(ctx, "count letters", func(h *hold) error {
		n.Store(int64(h.ready))
		return nil
	})
	return n.Load(), err
}

// Get returns one letter, or an error that wraps dlq.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (dlq.Letter, error) {
	var found dlq.Letter
	err := s.look(ctx, "get letter", func(h *hold) error {
		for {
			l, ok, err := h.next(ctx)
			switch {
			case err != nil:
				return err
			case !ok:
				return fmt.Errorf("%q: %w", id, dlq.ErrNotFound)
			case l.ID == id:
				found = l
				return nil
			}
		}
	})
	if err != nil {
		return dlq.Letter{}, err // a look that ctx ended goes on, and may find it
	}
	return found, nil
}

// Delete removes letters and returns how many of them there were.
func (s *Store) Delete(ctx context.Context, ids ...string) (int, error) {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	var removed atomic.Int64 // a look that ctx ended goes on
	err := s.look(ctx, "delete letters", func(h *hold) error {
		for len(wanted) > 0 {
			l, ok, err := h.next(ctx)
			if err != nil || !ok {
				return err
			}
			if !wanted[l.ID] {
				continue
			}
			delete(wanted, l.ID)
			if err := h.remove(); err != nil {
				return err
			}
			removed.Add(1)
		}
		return nil
	})
	return int(removed.Load()), err
}

// Remove removes one letter. It is quick when that is the oldest.
func (s *Store) Remove(ctx context.Context, id string) error {
	_, err := s.Delete(ctx, id)
	return err
}

// Purge removes all letters at once and returns how many there were.
func (s *Store) Purge(ctx context.Context) (int, error) {
	var removed atomic.Int64 // a look that ctx ended goes on
	err := s.look(ctx, "purge letters", func(h *hold) error {
		if h.ch == nil { // the queue was not there
			return nil
		}
		n, err := h.ch.QueuePurge(s.queue, false)
		removed.Store(int64(n))
		return err
	})
	return int(removed.Load()), err
}

// failed types an error: what the broker refuses it refuses again, everything
// else is that it cannot be asked now.
func (s *Store) failed(act string, err error) error {
	if brokerCode(err) != 0 || errors.Is(err, dlq.ErrNotFound) {
		return fmt.Errorf("rabbitbus: %s in %q: %w", act, s.queue, refused(err))
	}
	return fmt.Errorf("rabbitbus: %s in %q: %w: %w", act, s.queue, dlq.ErrUnavailable, err)
}
