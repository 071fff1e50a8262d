package rabbitbus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/router"
)

const (
	// DefaultPrefetchCount is how many messages a consumer with one worker
	// holds. Larger is faster with fast handlers; smaller shares a short queue
	// more evenly among consumers.
	DefaultPrefetchCount = 10

	// DefaultMaxDeliveries leaves room for crashes and evictions that the event
	// has nothing to do with, and for shutdowns, which brokers before 4.3 count,
	// too. It is below DefaultDeliveryLimit, where the broker takes over.
	DefaultMaxDeliveries = 10

	// DefaultAckDelay bounds how long an acknowledgement waits for company. All
	// that a SIGKILL can make happen twice is what was acknowledged in it.
	DefaultAckDelay = 5 * time.Millisecond

	// DefaultNackDelay is how long a nacked message waits in memory.
	DefaultNackDelay = time.Second

	// inFlightPerWorker leaves room for other keys behind a busy one.
	inFlightPerWorker = 4
)

// NoMaxDeliveries is the MaxDeliveries of a subscriber that never buries.
const NoMaxDeliveries = -1

// SubscriberConfig configures a [Subscriber]. Only Client and ConsumerGroup are
// required.
type SubscriberConfig struct {
	// Client is used for consuming and stays yours: Close does not close it.
	Client *Client

	// ConsumerGroup names the queue, {topic}.{group}. Consumers of one group
	// share its messages.
	ConsumerGroup string

	// ConsumerName is the consumer tag, which the management pages show. Empty
	// means the host's name and a random part.
	ConsumerName string

	// Topology says what exchange, queue and bindings look like, and whether to
	// declare them.
	Topology TopologyConfig

	// PrefetchCount bounds the messages that are received and not acknowledged:
	// those being handled, those waiting for their key's turn, and finished ones
	// whose acknowledgement waits for company. It may not be less than
	// Concurrency. 0 means [DefaultPrefetchCount], or four times Concurrency when
	// that is more.
	PrefetchCount int

	// Concurrency is how many messages are handled at once, never two with one
	// key. 0 means 1: strictly in the order of the queue.
	Concurrency int

	// Key returns the ordering key of a message. nil means the metadata
	// aggregate_id. It must not change the message.
	Key func(*message.Message) string

	// MaxDeliveries is how often a message of a quorum queue is delivered before
	// it is buried in DeadLetters instead: what kills its process each time would
	// otherwise do so for ever. Connections that this subscriber lost do not
	// count. Classic queues count nothing, and there is no limit. 0 means
	// [DefaultMaxDeliveries], [NoMaxDeliveries] that there is no limit but the
	// broker's.
	MaxDeliveries int

	// DeadLetters takes the messages over MaxDeliveries. They are acknowledged
	// after the burial is confirmed; until then it is tried again. nil means no
	// limit: middleware.Delivery's Count tells a handler.
	DeadLetters dlq.Burier

	// OnDead, when not nil, is told of each letter after its burial.
	OnDead func(dlq.Letter)

	// AckDelay bounds how long an acknowledgement waits to be sent with others.
	// It waits less when half of PrefetchCount is finished. 0 means
	// [DefaultAckDelay].
	AckDelay time.Duration

	// NackDelay is how long a nacked message waits before it is delivered again,
	// in memory, its key waiting with it. A nack during a drain hands back. 0
	// means [DefaultNackDelay].
	NackDelay time.Duration

	// DrainTimeout bounds a drain that was given no deadline: by Close, or by
	// the end of the context of Subscribe. 0 means router.DefaultDrainTimeout.
	DrainTimeout time.Duration

	// Logger receives one line for each change of state. nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once, or nil.
func (c SubscriberConfig) Validate() error {
	var errs []error
	bad := func(field, problem string) {
		errs = append(errs, fmt.Errorf("rabbitbus: SubscriberConfig.%s: %s", field, problem))
	}
	if c.Client == nil {
		bad("Client", "must not be nil")
	}
	if c.ConsumerGroup == "" {
		bad("ConsumerGroup", "must not be empty")
	}
	if err := checkShort("it", c.ConsumerName); err != nil {
		bad("ConsumerName", err.Error())
	}
	for _, n := range []struct {
		field string
		value int64
	}{
		{"PrefetchCount", int64(c.PrefetchCount)},
		{"Concurrency", int64(c.Concurrency)},
		{"AckDelay", int64(c.AckDelay)},
		{"NackDelay", int64(c.NackDelay)},
		{"DrainTimeout", int64(c.DrainTimeout)},
	} {
		if n.value < 0 {
			bad(n.field, "must not be negative")
		}
	}
	if c.PrefetchCount > maxPrefetch {
		bad("PrefetchCount", fmt.Sprintf("must not be more than %d", maxPrefetch))
	}
	if c.MaxDeliveries < NoMaxDeliveries {
		bad("MaxDeliveries", "must not be negative, except NoMaxDeliveries")
	}
	if limit := cmp.Or(c.Topology.DeliveryLimit, DefaultDeliveryLimit); c.DeadLetters != nil && cmp.Or(c.MaxDeliveries, DefaultMaxDeliveries) > limit {
		bad("MaxDeliveries", fmt.Sprintf("is more than the queue's DeliveryLimit %d, where the broker takes over", limit))
	}
	if c.PrefetchCount > 0 && c.PrefetchCount < c.Concurrency {
		bad("PrefetchCount", fmt.Sprintf("%d is less than Concurrency %d", c.PrefetchCount, c.Concurrency))
	}
	return errors.Join(append(errs, c.Topology.validate("SubscriberConfig.Topology"))...)
}

// maxPrefetch is what AMQP has room for.
const maxPrefetch = 65535

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	if c.ConsumerName == "" {
		c.ConsumerName = transport.ConsumerName()
	}
	c.Topology = c.Topology.withDefaults()
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.PrefetchCount = cmp.Or(c.PrefetchCount, min(maxPrefetch, max(DefaultPrefetchCount, inFlightPerWorker*c.Concurrency)))
	if c.Key == nil {
		c.Key = func(m *message.Message) string { return m.Metadata[wire.AggregateID] }
	}
	c.MaxDeliveries = cmp.Or(c.MaxDeliveries, DefaultMaxDeliveries)
	if c.DeadLetters == nil {
		c.MaxDeliveries = NoMaxDeliveries
	}
	c.AckDelay = cmp.Or(c.AckDelay, DefaultAckDelay)
	c.NackDelay = cmp.Or(c.NackDelay, DefaultNackDelay)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, router.DefaultDrainTimeout)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
