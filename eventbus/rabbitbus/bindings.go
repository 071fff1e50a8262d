package rabbitbus

import (
	"context"
	"fmt"
	"slices"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// plan is the topology of one topic's queue, with the bindings of run time: what
// is made anew when the queue is gone.
type plan struct {
	mu       sync.Mutex
	topology Topology
}

func (p *plan) now() Topology {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topology.and(Topology{})
}

func (s *Subscriber) planOf(topic string) *plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.plans[topic]
	if p == nil {
		p = &plan{topology: s.cfg.Topology.Group(topic, s.cfg.ConsumerGroup)}
		s.plans[topic] = p
	}
	return p
}

// Bind binds the group's queue of a topic, at run time. The binding is restored
// whenever this subscriber makes the queue again; it stays at the broker when
// the subscriber ends, as all bindings do. The queue must be there.
func (s *Subscriber) Bind(ctx context.Context, topic string, b Binding) error {
	queue := QueueName(topic, s.cfg.ConsumerGroup)
	if err := checkShort("the routing key", b.RoutingKey); err != nil {
		return fmt.Errorf("rabbitbus: bind %q: %w", queue, err)
	}
	p := s.planOf(topic)
	p.mu.Lock()
	defer p.mu.Unlock()
	err := s.cfg.Client.do(ctx, func(ch *amqp.Channel) error {
		return ch.QueueBind(queue, b.RoutingKey, topic, false, b.Arguments)
	})
	if err != nil {
		return fmt.Errorf("rabbitbus: bind %q by %q: %w", queue, b.RoutingKey, err)
	}
	if p.index(queue, b) < 0 {
		p.topology.Bindings = append(p.topology.Bindings, QueueBinding{Exchange: topic, Queue: queue, Binding: b})
	}
	return nil
}

// Unbind removes a binding of the group's queue, one of those that it began with
// as well. Unbinding what is not bound changes nothing.
func (s *Subscriber) Unbind(ctx context.Context, topic string, b Binding) error {
	queue := QueueName(topic, s.cfg.ConsumerGroup)
	p := s.planOf(topic)
	p.mu.Lock()
	defer p.mu.Unlock()
	err := s.cfg.Client.do(ctx, func(ch *amqp.Channel) error {
		return ch.QueueUnbind(queue, b.RoutingKey, topic, b.Arguments)
	})
	if err != nil {
		return fmt.Errorf("rabbitbus: unbind %q by %q: %w", queue, b.RoutingKey, err)
	}
	if i := p.index(queue, b); i >= 0 {
		p.topology.Bindings = slices.Delete(p.topology.Bindings, i, i+1)
	}
	return nil
}

// index is called with mu held.
func (p *plan) index(queue string, b Binding) int {
	return slices.IndexFunc(p.topology.Bindings, func(q QueueBinding) bool {
		return q.Queue == queue && q.equal(b)
	})
}
