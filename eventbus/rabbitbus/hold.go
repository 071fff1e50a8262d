package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/transport"
)

// hold is one look into the queue of letters, from the lock to the requeueing.
type hold struct {
	s         *Store
	link      *link
	ch        *amqp.Channel
	ready     int // letters when it began
	consumers int // of others, then

	deliveries <-chan amqp.Delivery // nil until the first next
	seen       int
	last       uint64         // the tag of the letter that came last
	removed    int            // of the seen
	ids        map[string]int // how often an id was seen, to tell twins apart
}

// look runs f while nobody else looks. What f took is put back.
func (s *Store) look(ctx context.Context, act string, f func(h *hold) error) error {
	if err := ctx.Err(); err != nil {
		return s.failed(act, context.Cause(ctx))
	}
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return s.failed(act, context.Cause(ctx))
	}
	link, ch, err := s.cfg.Client.channel(ctx)
	if err != nil {
		return s.failed(act, err)
	}
	defer farewell(ch) // the broker requeues what release did not
	unlock, err := s.lock(ctx)
	if err != nil {
		return s.failed(act, err)
	}
	defer unlock()
	h := &hold{s: s, link: link, ch: ch, ids: make(map[string]int)}
	_, err = within(ctx, func() (struct{}, error) { return struct{}{}, h.run(f) }, nil)
	if brokerCode(err) == amqp.NotFound && s.cfg.Topology.Mode == TopologyDeclare {
		// No letter was ever buried, or the queue was deleted.
		if err = s.declare(ctx); err == nil {
			h.ready = 0
			err = f(&hold{s: s, ch: nil, ids: h.ids})
		}
	}
	if err != nil {
		return s.failed(act, err)
	}
	return nil
}

func (h *hold) run(f func(h *hold) error) error {
	q, err := h.ch.QueueDeclarePassive(h.s.queue, true, false, false, false, nil)
	if err != nil {
		return err
	}
	h.ready, h.consumers = q.Messages, q.Consumers
	return errors.Join(f(h), h.release())
}

// holdTag names the consumer.
const holdTag = "leat-letters"

const (
	// quiet is how long no letter comes before the broker is asked whether there
	// are any left: another program may take them, too.
	quiet = 250 * time.Millisecond
	// missing is how long a letter that the broker counted may be on its way. A
	// quorum queue reads them from its disk first, and a broker can be busy. Then
	// the look fails: what it has seen is not all, or another program took some.
	missing = 30 * time.Second
)

// next returns the next letter, of those that were there when the look began.
func (h *hold) next(ctx context.Context) (l dlq.Letter, ok bool, err error) {
	if h.seen >= h.ready || h.ch == nil {
		return l, false, nil
	}
	if h.deliveries == nil {
		// All of them, even when the first is all that is wanted: a quorum queue
		// puts what it gets back behind what it has got back before.
		prefetch := h.ready
		if prefetch > maxPrefetch {
			prefetch = 0 // no limit
		}
		if err := h.ch.Qos(prefetch, 0, false); err != nil {
			return l, false, err
		}
		if h.deliveries, err = h.ch.Consume(h.s.queue, holdTag, false, false, false, false, nil); err != nil {
			return l, false, err
		}
	}
	began := time.Now()
	wait := time.NewTimer(quiet)
	defer wait.Stop()
	for {
		select {
		case d, open := <-h.deliveries:
			if !open {
				return l, false, fmt.Errorf("the channel was closed: %w", amqp.ErrClosed)
			}
			h.seen++
			h.last = d.DeliveryTag
			return h.letter(&d), true, nil
		case <-wait.C:
			q, err := h.ch.QueueDeclarePassive(h.s.queue, true, false, false, false, nil)
			if err != nil {
				return l, false, err
			}
			if q.Messages == 0 && time.Since(began) > missing {
				return l, false, fmt.Errorf("%d of %d letters did not come", h.ready-h.seen, h.ready)
			}
			wait.Reset(quiet)
		case <-ctx.Done():
			return l, false, context.Cause(ctx)
		}
	}
}

// remove acknowledges the letter that next returned last.
func (h *hold) remove() error {
	h.removed++
	return h.ch.Ack(h.last, false)
}

// release closes the channel, which makes the broker put back what it sent, in its
// order, and waits until that has happened: the next look would miss some. A nack
// of more than 32 messages of a quorum queue gives them back in no particular
// order, whether together or one by one (run, on 3.10).
func (h *hold) release() error {
	if h.deliveries == nil {
		return nil
	}
	var err error
	if h.removed > 1 { // one alone is never kept back, and a replay removes one at a time
		_, err = applied(h.ch, h.s.queue, h.s.cfg.Topology.withDefaults().QueueType)
	}
	go func() {
		for range h.deliveries { // for the client, which keeps them until they are taken
		}
	}()
	if err := errors.Join(err, h.ch.Close()); err != nil {
		return err
	}
	return h.s.gone(h.consumers)
}

// requeueing is how long the broker may take to put letters back.
const requeueing = time.Minute

// gone waits until the queue has no more consumers than before: it drops one, and
// puts back what that one had, in one step.
func (s *Store) gone(before int) error {
	ctx := context.Background()
	return s.cfg.Client.do(ctx, func(ch *amqp.Channel) error {
		for since := time.Now(); time.Since(since) < requeueing; transport.Sleep(ctx, requeued) {
			q, err := ch.QueueDeclarePassive(s.queue, true, false, false, false, nil)
			if err != nil || q.Consumers <= before {
				return err
			}
		}
		return nil // somebody else has begun to consume
	})
}

// requeued is how often the broker is asked.
const requeued = 5 * time.Millisecond

// lockPatience is how long the lock is asked for when ctx has no deadline.
const lockPatience = 30 * time.Second

// lock keeps other connections from looking. It goes with the connection.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lockPatience)
		defer cancel()
	}
	name := s.queue + ".lock"
	local, err := s.cfg.Client.localLock(ctx, name)
	if err != nil {
		return nil, err
	}
	for {
		err := s.cfg.Client.do(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(name, false, true, true, false, nil)
			return err
		})
		if err == nil {
			break
		}
		if brokerCode(err) != amqp.ResourceLocked {
			local()
			return nil, err
		}
		if !transport.Sleep(ctx, lockPause) {
			local()
			return nil, fmt.Errorf("somebody else looks at the letters: %w", context.Cause(ctx))
		}
	}
	return func() {
		defer local()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		// When it fails the connection is gone, and the lock with it.
		_ = s.cfg.Client.do(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(name, false, false, false)
			return err
		})
	}, nil
}

// lockPause is how often a lock that somebody else has is asked for.
const lockPause = 20 * time.Millisecond

// locks are those of one connection, within which the broker's excludes nobody.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when it is free
}

func (c *Client) localLock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		c.locks.mu.Lock()
		busy := c.locks.held[name]
		if busy == nil {
			if c.locks.held == nil {
				c.locks.held = make(map[string]chan struct{})
			}
			free := make(chan struct{})
			c.locks.held[name] = free
			c.locks.mu.Unlock()
			return func() {
				c.locks.mu.Lock()
				delete(c.locks.held, name)
				c.locks.mu.Unlock()
				close(free)
			}, nil
		}
		c.locks.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
