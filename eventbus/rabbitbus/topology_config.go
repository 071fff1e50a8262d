package rabbitbus

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TopologyMode says what is done about exchanges, queues and bindings.
type TopologyMode int

const (
	// TopologyDeclare declares them, which changes nothing where they are.
	TopologyDeclare TopologyMode = iota
	// TopologyPassive only checks that exchanges and queues are there.
	TopologyPassive
	// TopologyNone leaves them to somebody else, unchecked.
	TopologyNone
)

// String returns "declare", "passive" or "none".
func (m TopologyMode) String() string {
	switch m {
	case TopologyDeclare:
		return "declare"
	case TopologyPassive:
		return "passive"
	case TopologyNone:
		return "none"
	}
	return fmt.Sprintf("TopologyMode(%d)", int(m))
}

// ExchangeType is how an exchange routes.
type ExchangeType string

// The exchange types.
const (
	ExchangeTopic   ExchangeType = amqp.ExchangeTopic   // by patterns of routing keys
	ExchangeDirect  ExchangeType = amqp.ExchangeDirect  // by equal routing keys
	ExchangeFanout  ExchangeType = amqp.ExchangeFanout  // to every queue
	ExchangeHeaders ExchangeType = amqp.ExchangeHeaders // by headers; see Binding.Arguments
)

// QueueType is how the broker keeps a queue.
type QueueType string

// The queue types.
const (
	// QueueQuorum is replicated, counts deliveries, and dead-letters without
	// losing. It is the default of durable queues.
	QueueQuorum QueueType = "quorum"
	// QueueClassic counts nothing: an event that kills its process again and
	// again is delivered again and again. Choose it to join a queue that was
	// declared so, by the Python library for instance.
	QueueClassic QueueType = "classic"
)

const (
	// DefaultDeliveryLimit is the broker's own limit, the net under
	// MaxDeliveries: an event beyond it is dead-lettered by the broker. It is an
	// argument of the queue and must be the same wherever the queue is declared.
	DefaultDeliveryLimit = 20

	// letterDeliveryLimit keeps the broker from dropping letters that have often
	// been listed: looking at them is a delivery.
	letterDeliveryLimit = 1_000_000_000
)

// Binding brings messages from the exchange to a queue.
type Binding struct {
	// RoutingKey is a pattern on a topic exchange ("Order.*", "*.OrderCreated",
	// "#"), a key on a direct one, and ignored by the others.
	RoutingKey string
	// Arguments are what a headers exchange matches: header names and values,
	// all of them, or any with "x-match": "any".
	Arguments amqp.Table
}

func (b Binding) equal(other Binding) bool {
	return b.RoutingKey == other.RoutingKey && fmt.Sprint(b.Arguments) == fmt.Sprint(other.Arguments)
}

// TopologyConfig says what exchanges and queues look like. The zero value is a
// durable topic exchange, and a durable quorum queue that is bound with "#" and
// has a dead letter queue.
type TopologyConfig struct {
	// Mode says whether they are declared, checked or left alone.
	Mode TopologyMode

	// ExchangeType is how the exchange routes. Empty means [ExchangeTopic].
	ExchangeType ExchangeType

	// Transient makes exchange and queues that do not survive a restart of the
	// broker, and messages that are not written to disk. Brokers since 4.3
	// refuse such queues.
	Transient bool

	// AutoDelete removes the exchange when its last queue is gone, and a classic
	// queue when its last consumer is.
	AutoDelete bool

	// QueueType is how the queue is kept. Empty means [QueueQuorum], or
	// [QueueClassic] with Transient or AutoDelete, which quorum queues cannot be.
	QueueType QueueType

	// DeliveryLimit is the quorum queue's own limit; see MaxDeliveries for the
	// one that is meant to be reached. 0 means [DefaultDeliveryLimit].
	DeliveryLimit int

	// SingleActiveConsumer gives the queue to one consumer at a time, the next
	// one when it goes away: order by key then holds across the whole group.
	SingleActiveConsumer bool

	// QueueArguments are added to the queue's, and win over them: x-max-length,
	// x-message-ttl, ... They must be the same wherever the queue is declared.
	QueueArguments amqp.Table

	// RoutingKeyPattern binds the queue. Empty means by the exchange's type: "#"
	// for topic, the queue's own name for direct, nothing to match for fanout,
	// and for headers whatever has an event type.
	RoutingKeyPattern string

	// NoDefaultBinding binds the queue to nothing but Bindings, and to what is
	// bound at run time.
	NoDefaultBinding bool

	// Bindings are made beside the one of RoutingKeyPattern.
	Bindings []Binding

	// DisableDLQ declares no dead letter exchange and queue. It changes the
	// queue's arguments.
	DisableDLQ bool
}

// Validate reports every problem of the configuration at once, or nil.
func (c TopologyConfig) Validate() error { return c.validate("TopologyConfig") }

func (c TopologyConfig) validate(config string) error {
	var errs []error
	bad := func(field, problem string) {
		errs = append(errs, fmt.Errorf("rabbitbus: %s.%s: %s", config, field, problem))
	}
	if c.Mode < TopologyDeclare || c.Mode > TopologyNone {
		bad("Mode", fmt.Sprintf("%v is unknown", c.Mode))
	}
	switch c.ExchangeType {
	case "", ExchangeTopic, ExchangeDirect, ExchangeFanout, ExchangeHeaders:
	default:
		bad("ExchangeType", fmt.Sprintf("%q is unknown: topic, direct, fanout or headers", c.ExchangeType))
	}
	switch c.QueueType {
	case "", QueueClassic:
	case QueueQuorum:
		if c.Transient || c.AutoDelete {
			bad("QueueType", "a quorum queue is always durable and never deleted by itself; use classic, or neither Transient nor AutoDelete")
		}
	default:
		bad("QueueType", fmt.Sprintf("%q is unknown: quorum or classic", c.QueueType))
	}
	if c.DeliveryLimit < 0 {
		bad("DeliveryLimit", "must not be negative")
	}
	if err := checkShort("it", c.RoutingKeyPattern); err != nil {
		bad("RoutingKeyPattern", err.Error())
	}
	if c.NoDefaultBinding && c.RoutingKeyPattern != "" {
		bad("NoDefaultBinding", "cannot be set together with RoutingKeyPattern")
	}
	if err := c.QueueArguments.Validate(); err != nil {
		bad("QueueArguments", err.Error())
	}
	for i, b := range c.Bindings {
		field := fmt.Sprintf("Bindings[%d]", i)
		if err := checkShort("the routing key", b.RoutingKey); err != nil {
			bad(field, err.Error())
		}
		if err := b.Arguments.Validate(); err != nil {
			bad(field, err.Error())
		}
	}
	return errors.Join(errs...)
}

func (c TopologyConfig) withDefaults() TopologyConfig {
	c.ExchangeType = cmp.Or(c.ExchangeType, ExchangeTopic)
	if c.QueueType == "" {
		c.QueueType = QueueQuorum
		if c.Transient || c.AutoDelete {
			c.QueueType = QueueClassic
		}
	}
	c.DeliveryLimit = cmp.Or(c.DeliveryLimit, DefaultDeliveryLimit)
	return c
}

// Exchange returns what a publisher to the exchange declares.
func (c TopologyConfig) Exchange(exchange string) Topology {
	c = c.withDefaults()
	return Topology{Exchanges: []Exchange{{
		Name: exchange, Type: c.ExchangeType, Durable: !c.Transient, AutoDelete: c.AutoDelete,
	}}}
}

// Letters returns the dead letter exchange and queue of a consumer group.
func (c TopologyConfig) Letters(exchange, group string) Topology {
	c = c.withDefaults()
	queue, dead := QueueName(exchange, group), DeadExchangeName(exchange)
	letters := Queue{Name: DeadQueueName(queue), Durable: !c.Transient}
	if c.QueueType == QueueQuorum {
		letters.Arguments = amqp.Table{"x-queue-type": string(QueueQuorum), "x-delivery-limit": letterDeliveryLimit}
	}
	return Topology{
		Exchanges: []Exchange{{Name: dead, Type: ExchangeDirect, Durable: !c.Transient}},
		Queues:    []Queue{letters},
		Bindings:  []QueueBinding{{Exchange: dead, Queue: letters.Name, Binding: Binding{RoutingKey: queue}}},
	}
}

// Group returns all that a consumer group declares: the exchange, its queue and
// bindings, and unless DisableDLQ the dead letter exchange and queue.
func (c TopologyConfig) Group(exchange, group string) Topology {
	c = c.withDefaults()
	t := c.Exchange(exchange)
	name := QueueName(exchange, group)
	queue := Queue{Name: name, Durable: !c.Transient, AutoDelete: c.AutoDelete, Arguments: c.arguments(exchange, name)}
	t.Queues = append(t.Queues, queue) // first: when it differs, nothing else is made
	if !c.DisableDLQ {
		t = t.and(c.Letters(exchange, group))
	}
	for _, b := range c.bindings(name) {
		t.Bindings = append(t.Bindings, QueueBinding{Exchange: exchange, Queue: name, Binding: b})
	}
	return t
}

// arguments are those of the main queue.
func (c TopologyConfig) arguments(exchange, queue string) amqp.Table {
	args := amqp.Table{}
	if !c.DisableDLQ {
		args["x-dead-letter-exchange"] = DeadExchangeName(exchange)
		args["x-dead-letter-routing-key"] = queue
	}
	if c.QueueType == QueueQuorum {
		args["x-queue-type"] = string(QueueQuorum)
		args["x-delivery-limit"] = int64(c.DeliveryLimit)
		if !c.DisableDLQ {
			// The broker's own dead-lettering loses nothing only with these two.
			args["x-dead-letter-strategy"] = "at-least-once"
			args["x-overflow"] = "reject-publish"
		}
	}
	if c.SingleActiveConsumer {
		args["x-single-active-consumer"] = true
	}
	maps.Copy(args, c.QueueArguments)
	return args
}

// single reports whether the queue is for one consumer at a time, however that was
// asked for.
func (c TopologyConfig) single() bool {
	asked, _ := c.QueueArguments["x-single-active-consumer"].(bool)
	return c.SingleActiveConsumer || asked
}

// bindings are those that a queue begins with.
func (c TopologyConfig) bindings(queue string) []Binding {
	if c.NoDefaultBinding {
		return slices.Clone(c.Bindings)
	}
	first := Binding{RoutingKey: c.RoutingKeyPattern}
	if c.RoutingKeyPattern == "" {
		switch c.ExchangeType {
		case ExchangeTopic:
			first.RoutingKey = "#"
		case ExchangeDirect:
			first.RoutingKey = queue
		case ExchangeFanout:
		case ExchangeHeaders:
			if len(c.Bindings) > 0 {
				return slices.Clone(c.Bindings)
			}
			first.Arguments = amqp.Table{"x-match": "all"} // no condition: everything
		}
	}
	return append([]Binding{first}, c.Bindings...)
}
