package rabbitbus

import (
	"context"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// session is one channel with one consumer on it, from its opening until it is
// lost or drained.
type session struct {
	sub        *subscription
	link       *link
	ch         *amqp.Channel
	tag        string
	deliveries <-chan amqp.Delivery
	table      *inflight
	acks       *acker

	lost    chan struct{} // closed when tags of this channel mean nothing any more
	lostOne sync.Once
	why     error // written before lost is closed

	arrived  arrivals
	suspects bool // one over the limit has just had its turn
	ended    sync.WaitGroup

	asking sync.Mutex // one question on the channel at a time: the client takes any answer for its own
}

// open sees to the topology, opens a channel and starts a consumer.
func (s *subscription) open(ctx context.Context) (*session, error) {
	if err := s.cfg.Client.ensure(ctx, s.cfg.Topology.Mode, s.plan.now()); err != nil {
		return nil, err
	}
	link, ch, err := s.cfg.Client.channel(ctx)
	if err != nil {
		return nil, err
	}
	sess := &session{sub: s, link: link, ch: ch, tag: s.cfg.ConsumerName, table: newInflight(s.cfg.PrefetchCount), lost: make(chan struct{})}
	sess.acks = newAcker(sess)
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	deliveries, err := within(ctx, func() (<-chan amqp.Delivery, error) {
		if err := ch.Qos(s.cfg.PrefetchCount, 0, false); err != nil {
			return nil, err
		}
		return ch.Consume(s.queue, sess.tag, false, false, false, false, nil)
	}, nil)
	if err != nil {
		go ch.Close() //nolint:errcheck // the consumer's error is the one to tell; the channel may hang
		return nil, refused(err)
	}
	sess.deliveries = deliveries
	sess.ended.Go(func() {
		err, ok := <-closes
		if ok && err != nil {
			sess.lose(refused(err))
		} else {
			sess.lose(amqp.ErrClosed)
		}
	})
	sess.ended.Go(sess.acks.run)
	return sess, nil
}

// discard undoes open.
func (s *session) discard() {
	_ = s.ch.Close() // nothing was taken from it
	s.ended.Wait()
}

// lose voids the tags. What was not acknowledged comes again.
func (s *session) lose(why error) {
	s.lostOne.Do(func() {
		s.why = why
		s.sub.past.lose(s.table.void())
		close(s.lost)
	})
}

func (s *session) isLost() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

// settle reports whether the ack of e can still reach the broker.
func (s *session) settle(e *entry) bool {
	waiting, ok := s.table.settle(e)
	if ok {
		s.acks.kick(waiting)
	}
	return ok
}

// consume keeps one session after the other until ctx ends. No error ends it:
// each is a state to wait in.
func (s *subscription) consume(ctx context.Context, sess *session) {
	var pause transport.Backoff
	for {
		if sess == nil {
			var err error
			opening, cancel := context.WithTimeout(ctx, subscribeTimeout)
			sess, err = s.open(opening)
			cancel()
			if err != nil {
				sess = nil
				if ctx.Err() != nil {
					return
				}
				if !s.state.Down(s.log, err) {
					s.log.Debug("consuming still fails", "error", err)
				}
				pause.Wait(ctx)
				continue
			}
			s.stats.reconnections.Add(1)
			s.state.Up(s.log)
		}
		s.setSession(sess)
		s.past.begin()
		took := sess.read(ctx)
		if ctx.Err() != nil {
			return // the drain has use for the session
		}
		s.setSession(nil)
		sess.lose(errCancelled)
		_ = sess.ch.Close() // a cancelled consumer's; ends a recovery that its owner may have asked for
		sess.ended.Wait()
		s.state.Down(s.log, sess.why)
		if took {
			pause = transport.Backoff{}
		}
		sess = nil
		if !pause.Wait(ctx) {
			return
		}
	}
}

func (s *subscription) setSession(sess *session) {
	s.sessMu.Lock()
	defer s.sessMu.Unlock()
	s.session = sess
}

// read takes messages in until the consumer ends or ctx does, and reports
// whether there were any.
func (s *session) read(ctx context.Context) (took bool) {
	for {
		if d, ok := s.arrived.next(); ok {
			took = true
			s.take(ctx, &d)
			continue
		}
		select {
		case d, ok := <-s.deliveries:
			if !ok {
				return took // no phantom: a closed channel gives empty messages for ever
			}
			s.arrived.add(d)
		case <-ctx.Done():
			return took
		}
	}
}
