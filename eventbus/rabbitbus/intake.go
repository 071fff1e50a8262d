package rabbitbus

import (
	"context"
	"errors"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

var errCancelled = errors.New("the broker cancelled the consumer: the queue was deleted, or its node is gone")

// suspectAfter is the number of deliveries from which on a message is handled
// alone: it may be what kills its process, and its neighbours, which share its
// fate and its count, are to be told from it.
const suspectAfter = 3

// take puts a delivery into the table and the lanes.
func (s *session) take(ctx context.Context, d *amqp.Delivery) {
	e := s.entry(d)
	if !s.table.add(e) {
		s.sub.past.lose([]*entry{e}, nil)
		return
	}
	crashes := e.delivery.Count - s.sub.past.forgiven(e)
	if limit := s.sub.cfg.MaxDeliveries; limit == NoMaxDeliveries || crashes < max(2, min(suspectAfter, limit)) {
		s.suspects = false
		s.add(e)
		return
	}
	s.isolate(ctx, e, crashes > s.sub.cfg.MaxDeliveries)
}

// add gives the entry to the workers. Once the drain has begun it stays in the
// table, which is handed back.
func (s *session) add(e *entry) { s.sub.lanes.Add(e.delivery.Key, e) }

// isolate handles a suspect alone, with nothing else in flight: the first one
// over the limit is buried, because what comes before it in the queue has
// killed nobody, and what comes behind it never had its turn.
func (s *session) isolate(ctx context.Context, e *entry, over bool) {
	if !s.await(ctx, 1) || !s.heard(ctx) { // all but itself are settled
		return
	}
	e.over = over && !s.suspects
	s.suspects = s.suspects || over
	s.add(e)
	s.await(ctx, 0)
	s.acks.flush() // what did not kill is out of it
}

// heard reports whether the broker has carried out all acknowledgements: what is
// handled next may end the process, and they would be counted among its victims.
func (s *session) heard(ctx context.Context) bool {
	s.acks.flush()
	type answer struct {
		strays []amqp.Delivery
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		strays, err := s.applied()
		answered <- answer{strays, err}
	}()
	deliveries := s.deliveries
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				deliveries = nil
				continue
			}
			s.arrived.add(d)
		case a := <-answered:
			s.arrived.strays = append(s.arrived.strays, a.strays...)
			return a.err == nil
		case <-ctx.Done():
			return false
		}
	}
}

// await waits until at most n messages are not settled, and reports whether
// that happened before the session was lost or the drain began.
func (s *session) await(ctx context.Context, n int) bool {
	deliveries := s.deliveries
	for {
		if s.isLost() || ctx.Err() != nil {
			return false
		}
		if _, open := s.table.len(); open <= n {
			return true
		}
		select {
		case d, ok := <-deliveries:
			if !ok {
				deliveries = nil
				continue
			}
			s.arrived.add(d)
		case <-s.table.drained:
		case <-s.lost:
		case <-ctx.Done():
		}
	}
}

// entry makes an entry of a delivery.
func (s *session) entry(d *amqp.Delivery) *entry {
	msg, err := decode(d, s.sub.keyed)
	e := &entry{msg: msg, known: identify(msg), sess: s, tag: d.DeliveryTag, again: d.Redelivered, delivery: middleware.Delivery{
		System: System, Topic: s.sub.topic, Group: s.sub.cfg.ConsumerGroup, ID: strconv.FormatUint(d.DeliveryTag, 10),
		Partition: dlq.NoPosition, Offset: dlq.NoPosition, Count: deliveries(d), Malformed: err,
	}}
	if err == nil {
		e.delivery.Key = s.sub.cfg.Key(msg)
	}
	return e
}

// deliveries counts this one, too, but not those that were handed back to a
// broker that can tell the difference (4.3). 0 means that nobody knows: a classic
// queue only tells that there was one before.
func deliveries(d *amqp.Delivery) int {
	switch n := d.Headers[headerDeliveryCount].(type) {
	case int64:
		return int(n) + 1
	case int32:
		return int(n) + 1
	case int16:
		return int(n) + 1
	case int8:
		return int(n) + 1
	case uint8:
		return int(n) + 1
	}
	if _, counted := d.Headers[headerAcquiredCount]; d.Redelivered && !counted {
		return 0
	}
	return 1
}
