package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/eventbus/internal/transport"
)

// Bus is a bus on RabbitMQ: all verbs of [eventbus.Bus], bindings at run time,
// and a look at the queue. Open one with [Open]; the zero value is not usable.
// All its methods may be called from many goroutines.
type Bus struct {
	*eventbus.Bus

	cfg     Config
	publish *Client
	consume *Client
	sub     *Subscriber // nil: PublishOnly
	reset   atomic.Pointer[TransportStats]
	unseen  transport.Unseen
}

// Open connects to the broker, twice: for publishing and for consuming, so that
// a broker that blocks publishers does not stop consumers. It declares exchange,
// queue and bindings as Topology says, so that what is published from now on is
// kept for the group, and returns a bus that can publish; Run or Mount begins to
// consume. The error joins every problem of the configuration, or is a
// [*ConnectError] or a [*TopologyError]; it comes within ConnectTimeout for each
// node.
//
// Shutdown closes the connections, except one that was given.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg, unseen: transport.Unseen{Dropped: cfg.DisableDLQ}}
	b.reset.Store(&TransportStats{})
	if err := b.connect(ctx); err != nil {
		return nil, errors.Join(err, b.disconnect())
	}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.disconnect())
	}
	return b, nil
}

func (b *Bus) connect(ctx context.Context) (err error) {
	if b.cfg.Connection != nil {
		if b.publish, err = UseConnection(b.cfg.Connection); err != nil {
			return err
		}
		b.consume = b.publish
		_, err = b.publish.live()
		return err
	}
	if b.publish, err = Connect(ctx, b.cfg.client("publisher")); err != nil {
		return err
	}
	if b.cfg.PublishOnly {
		b.consume = b.publish
		return nil
	}
	b.consume, err = Connect(ctx, b.cfg.client("consumer"))
	return err
}

func (b *Bus) disconnect() error {
	var errs []error
	for _, c := range []*Client{b.publish, b.consume} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

func (b *Bus) open(ctx context.Context) error {
	pub, err := NewPublisher(b.cfg.publisher(b.publish))
	if err != nil {
		return err
	}
	topology := b.cfg.TopologyConfig()
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	if err := b.consume.ensure(ctx, topology.Mode, b.cfg.Plan()); err != nil {
		return err
	}
	store, err := NewStore(StoreConfig{
		Client: b.consume, Publisher: pub, Exchange: b.cfg.exchange(), ConsumerGroup: b.cfg.group(), Topology: topology,
	})
	if err != nil {
		return err
	}
	facade := b.cfg.facade(pub, nil, nil)
	closeAll := []func() error{pub.Close}
	if !b.cfg.PublishOnly {
		sub := b.cfg.subscriber(b.consume)
		sub.DeadLetters = store
		if b.cfg.DisableDLQ {
			sub.DeadLetters = transport.Drop{Log: b.cfg.Logger}
		}
		sub.OnDead = b.unseen.Died
		if b.sub, err = NewSubscriber(sub); err != nil {
			return err
		}
		facade.Subscriber = direct.Own{Drainer: b.sub, TellTo: b.unseen.TellTo}
		closeAll = append(closeAll, b.sub.Close)
	}
	closeAll = append(closeAll, b.disconnect)
	facade.OnClose = func(context.Context) error {
		var errs []error
		for _, f := range closeAll {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	if !b.cfg.DisableDLQ {
		facade.DeadLetters = store
	}
	facade.AddStats, facade.Observed = b.addStats, b.observed()
	b.Bus, err = eventbus.New(facade)
	return err
}

// ErrPublishOnly is returned by what needs a queue, on a bus without one.
var ErrPublishOnly = errors.New("rabbitbus: the bus is for publishing only and has no queue")

// ConsumerName returns the consumer tag of this process; empty on a bus for
// publishing only.
func (b *Bus) ConsumerName() string {
	if b.sub == nil {
		return ""
	}
	return b.sub.ConsumerName()
}

// BindEventType binds the queue to the events of a registered type: by its
// aggregate type and name, on a topic exchange without an aggregate type by its
// name, on a headers exchange by the header event_type. It lasts; see
// [Subscriber.Bind]. A fanout exchange has nothing to bind by.
func (b *Bus) BindEventType(ctx context.Context, t eventbus.Type) error {
	binding, err := b.bindingOf(t)
	if err != nil {
		return err
	}
	return b.Bind(ctx, binding)
}

// UnbindEventType undoes BindEventType.
func (b *Bus) UnbindEventType(ctx context.Context, t eventbus.Type) error {
	binding, err := b.bindingOf(t)
	if err != nil {
		return err
	}
	return b.Unbind(ctx, binding)
}

func (b *Bus) bindingOf(t eventbus.Type) (Binding, error) {
	for _, et := range b.Registry().Types() {
		if et.Type != t {
			continue
		}
		switch {
		case b.cfg.ExchangeType == ExchangeHeaders:
			return Binding{Arguments: amqp.Table{"x-match": "all", "event_type": et.Name}}, nil
		case et.AggregateType != "":
			return Binding{RoutingKey: RoutingKey(et.AggregateType, et.Name)}, nil
		case b.cfg.ExchangeType == ExchangeDirect:
			return Binding{}, fmt.Errorf("rabbitbus: bind event type %s: a direct exchange needs its aggregate type: register it with eventbus.AggregateType, or use BindRoutingKey", et.Name)
		}
		return Binding{RoutingKey: "*." + escape(et.Name)}, nil
	}
	return Binding{}, fmt.Errorf("rabbitbus: bind event type %v: %w", t, eventbus.ErrUnregistered)
}

// BindRoutingKey binds the queue by a routing key, on a topic exchange by a
// pattern of them.
func (b *Bus) BindRoutingKey(ctx context.Context, pattern string) error {
	return b.Bind(ctx, Binding{RoutingKey: pattern})
}

// UnbindRoutingKey undoes BindRoutingKey, or removes the binding that the queue
// began with.
func (b *Bus) UnbindRoutingKey(ctx context.Context, pattern string) error {
	return b.Unbind(ctx, Binding{RoutingKey: pattern})
}

// Bind binds the queue; see [Subscriber.Bind].
func (b *Bus) Bind(ctx context.Context, binding Binding) error {
	if b.sub == nil {
		return ErrPublishOnly
	}
	return b.sub.Bind(ctx, b.Topic(), binding)
}

// Unbind removes a binding of the queue; see [Subscriber.Unbind].
func (b *Bus) Unbind(ctx context.Context, binding Binding) error {
	if b.sub == nil {
		return ErrPublishOnly
	}
	return b.sub.Unbind(ctx, b.Topic(), binding)
}

// QueueState says how a queue was found.
type QueueState string

// The states that AMQP shows.
const (
	QueueRunning QueueState = "running"
	QueueMissing QueueState = "missing"
)

// QueueInfo is what the broker tells about a queue at this moment.
type QueueInfo struct {
	Name      string     // of the queue
	State     QueueState // whether it is there
	Messages  int        // ready to be delivered; those in a consumer's hands are not counted
	Consumers int        // of all processes
	Letters   int        // in the dead letter queue, not counting those that somebody looks at
}

// QueueInfo describes the group's queue.
func (b *Bus) QueueInfo(ctx context.Context) (QueueInfo, error) {
	if b.sub == nil {
		return QueueInfo{}, ErrPublishOnly
	}
	info := QueueInfo{Name: QueueName(b.Topic(), b.Group()), State: QueueRunning}
	main, err := b.inspect(ctx, info.Name)
	if brokerCode(err) == amqp.NotFound {
		info.State = QueueMissing
	} else if err != nil {
		return QueueInfo{}, fmt.Errorf("rabbitbus: inspect queue %q: %w", info.Name, err)
	}
	info.Messages, info.Consumers = main.Messages, main.Consumers
	if letters, err := b.inspect(ctx, DeadQueueName(info.Name)); err == nil { // missing is none
		info.Letters = letters.Messages
	}
	return info, nil
}

func (b *Bus) inspect(ctx context.Context, queue string) (amqp.Queue, error) {
	var q amqp.Queue
	err := b.consume.do(ctx, func(ch *amqp.Channel) (err error) {
		q, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err
	})
	return q, err
}

// Plan returns the topology that the bus declares, or expects.
func (b *Bus) Plan() Topology { return b.cfg.Plan() }

// TransportStats are the counts that have no place in [eventbus.Stats].
type TransportStats struct {
	Consumer   SubscriberStats // zero on a bus for publishing only
	Publishing ClientStats     // of the connection that publishes
	Consuming  ClientStats     // of the one that consumes
}

// TransportStats returns the counts of the transport since the last ResetStats.
func (b *Bus) TransportStats() TransportStats {
	now, then := b.transport(), b.reset.Load()
	c, t := &now.Consumer, then.Consumer
	c.Delivered -= t.Delivered
	c.Acked -= t.Acked
	c.Nacked -= t.Nacked
	c.HandedBack -= t.HandedBack
	c.Buried -= t.Buried
	c.Voided -= t.Voided
	c.Repeated -= t.Repeated
	c.Reconnections -= t.Reconnections
	now.Publishing.Reconnections -= then.Publishing.Reconnections
	now.Consuming.Reconnections -= then.Consuming.Reconnections
	return now
}

func (b *Bus) transport() TransportStats {
	s := TransportStats{Publishing: b.publish.Stats(), Consuming: b.consume.Stats()}
	if b.sub != nil {
		s.Consumer = b.sub.Stats()
	}
	return s
}

// ResetStats sets every count to zero, the transport's too.
func (b *Bus) ResetStats() {
	now := b.transport()
	b.reset.Store(&now)
	b.unseen.Reset()
	b.Bus.ResetStats()
}

// addStats adds what only the transport sees.
func (b *Bus) addStats(s *eventbus.Stats) {
	t := b.TransportStats()
	s.Reconnections += t.Publishing.Reconnections
	if b.consume != b.publish {
		s.Reconnections += t.Consuming.Reconnections
	}
	b.unseen.AddTo(s, t.Consumer.Buried, t.Consumer.HandedBack)
	if at := t.Consuming.ConnectedAt; at.After(s.ConnectedAt) {
		s.ConnectedAt = at
	}
}
