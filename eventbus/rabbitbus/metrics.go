package rabbitbus

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/middleware/tracing"
)

// observed is what metrics ask of the bus. The lag is what is ready in the
// queue; what consumers have in hand is not counted, neither among the letters.
func (b *Bus) observed() tracing.Observed {
	o := tracing.Observed{Reconnections: b.reconnections}
	if b.sub == nil {
		return o
	}
	queue := QueueName(b.cfg.exchange(), b.cfg.group())
	o.LanesBusy = b.sub.lanesBusy
	o.Lag = func(ctx context.Context) (int64, error) { return b.ready(ctx, queue) }
	if !b.cfg.DisableDLQ {
		o.DeadLetters = func(ctx context.Context) (int64, error) { return b.ready(ctx, DeadQueueName(queue)) }
	}
	return o
}

// ready counts the messages that wait in a queue, none in one that is missing.
func (b *Bus) ready(ctx context.Context, queue string) (int64, error) {
	q, err := b.inspect(ctx, queue)
	if brokerCode(err) == amqp.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("rabbitbus: inspect queue %q: %w", queue, refused(err))
	}
	return int64(q.Messages), nil
}

// reconnections counts those of all connections, from the start.
func (b *Bus) reconnections() int64 {
	n := b.publish.reconnections.Load()
	if b.consume != b.publish {
		n += b.consume.reconnections.Load()
	}
	return n
}

// lanesBusy counts the keys that are being handled.
func (s *Subscriber) lanesBusy() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for sub := range s.subs {
		_, taken := sub.lanes.Len()
		n += taken
	}
	return int64(n)
}
