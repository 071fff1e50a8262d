package redisbus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/router"
)

const (
	// DefaultBatchSize is how many entries one read asks for. Smaller costs
	// round trips; larger gains little, and one consumer takes more than its
	// share of a short stream.
	DefaultBatchSize = 100

	// DefaultBlockTime is how long an idle read waits on the server. Shorter
	// means more commands while idle; longer means that a half-open connection
	// is noticed later. It delays neither events nor a stop.
	DefaultBlockTime = 5 * time.Second

	// DefaultPendingIdleTime is how long an entry may go without a sign of life
	// from its consumer before another one takes it. Shorter takes entries from
	// processes that were only suspended; longer delays what a dead one held.
	DefaultPendingIdleTime = 60 * time.Second

	// DefaultMaxDeliveries leaves room for crashes and evictions that the entry
	// has nothing to do with.
	DefaultMaxDeliveries = 5

	// DefaultAckDelay bounds how long an acknowledgement waits for company. All
	// that a SIGKILL can make happen twice is what was acknowledged in it.
	DefaultAckDelay = 5 * time.Millisecond

	// DefaultNackDelay is how long a nacked message waits in memory.
	DefaultNackDelay = time.Second

	// inFlightPerWorker leaves room for other keys behind a busy one.
	inFlightPerWorker = 16

	// batchesInFlight keep the handlers busy while one batch is acknowledged, and
	// then another is read in its place. With 2, they wait for a fifth of the time.
	batchesInFlight = 8
)

// NoMaxDeliveries is the MaxDeliveries of a subscriber that never buries.
const NoMaxDeliveries = -1

// SubscriberConfig configures a [Subscriber]. Only Client and ConsumerGroup are
// required.
type SubscriberConfig struct {
	// Client is used for reading, too, and stays yours: Close does not close it.
	// Reads block on a connection of their own, which is made with the client's
	// options and closed at the end. With a redis.Ring, or a type of your own,
	// they go through the client and poll four times a second.
	Client redis.UniversalClient

	// ConsumerGroup shares the entries among its consumers. It is created at the
	// beginning of the stream, which is created too.
	ConsumerGroup string

	// ConsumerName is this process within the group, and must be unique in it.
	// A process that comes back under its old name handles first what it had
	// not finished; with a new name that waits for PendingIdleTime. Empty means
	// host name and eight random digits. A second subscription to the same topic
	// at the same time appends "#2".
	ConsumerName string

	// BatchSize is how many entries a read asks for. 0 means [DefaultBatchSize].
	BatchSize int

	// BlockTime is how long an idle read waits. 0 means [DefaultBlockTime].
	BlockTime time.Duration

	// Concurrency is how many messages of one subscription are handled at a
	// time. 0 means 1: strictly the order of the stream. With more, messages
	// with one key are handled one at a time and in order.
	Concurrency int

	// Key returns what orders a message. Messages with an empty key have no
	// order among each other. nil means the metadata aggregate_id. It is called
	// from one goroutine a subscription.
	Key func(*message.Message) string

	// MaxInFlight bounds the entries of one subscription that are read and not
	// acknowledged. 0 means 8 times the BatchSize, or 16 times Concurrency if that
	// is more.
	MaxInFlight int

	// PendingIdleTime is after how long without a sign of life an entry is taken
	// from its consumer. A consumer gives one every third of it for all entries
	// that it holds, however slow their handlers are. All consumers of a group
	// should have the same. 0 means [DefaultPendingIdleTime].
	PendingIdleTime time.Duration

	// MaxDeliveries is how often an entry is delivered before it is buried in
	// DeadLetters instead: what kills its process each time would otherwise do
	// so for ever. It counts reads and claims on the server, not retries in a
	// handler, nor hand-backs at a shutdown. 0 means [DefaultMaxDeliveries],
	// [NoMaxDeliveries] that there is no limit.
	MaxDeliveries int

	// DeadLetters takes the entries over MaxDeliveries. They are acknowledged
	// after the burial is confirmed; until then it is tried again. nil means no
	// limit: middleware.Delivery's Count tells a handler.
	DeadLetters dlq.Burier

	// OnDead, when not nil, is told of each letter after its burial.
	OnDead func(dlq.Letter)

	// AckDelay bounds how long an acknowledgement waits to be sent with others.
	// Nothing waits while no handler runs. 0 means [DefaultAckDelay].
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
		errs = append(errs, fmt.Errorf("redisbus: SubscriberConfig.%s: %s", field, problem))
	}
	if c.Client == nil {
		bad("Client", "must not be nil")
	}
	if c.ConsumerGroup == "" {
		bad("ConsumerGroup", "must not be empty")
	}
	for _, n := range []struct {
		field string
		value int64
	}{
		{"BatchSize", int64(c.BatchSize)},
		{"BlockTime", int64(c.BlockTime)},
		{"Concurrency", int64(c.Concurrency)},
		{"MaxInFlight", int64(c.MaxInFlight)},
		{"PendingIdleTime", int64(c.PendingIdleTime)},
		{"AckDelay", int64(c.AckDelay)},
		{"NackDelay", int64(c.NackDelay)},
		{"DrainTimeout", int64(c.DrainTimeout)},
	} {
		if n.value < 0 {
			bad(n.field, "must not be negative")
		}
	}
	if c.MaxDeliveries < NoMaxDeliveries {
		bad("MaxDeliveries", "must not be negative, except NoMaxDeliveries")
	}
	if c.MaxInFlight > 0 && c.MaxInFlight < c.Concurrency {
		bad("MaxInFlight", fmt.Sprintf("%d is less than Concurrency %d", c.MaxInFlight, c.Concurrency))
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"BlockTime", c.BlockTime}, {"PendingIdleTime", c.PendingIdleTime}} {
		if d.value > 0 && d.value < time.Millisecond {
			bad(d.field, "must be at least a millisecond, the unit of Redis")
		}
	}
	return errors.Join(errs...)
}

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	if c.ConsumerName == "" {
		c.ConsumerName = transport.ConsumerName()
	}
	c.BatchSize = cmp.Or(c.BatchSize, DefaultBatchSize)
	c.BlockTime = cmp.Or(c.BlockTime, DefaultBlockTime)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	if c.Key == nil {
		c.Key = func(m *message.Message) string { return m.Metadata[wire.AggregateID] }
	}
	c.MaxInFlight = cmp.Or(c.MaxInFlight, max(batchesInFlight*c.BatchSize, inFlightPerWorker*c.Concurrency))
	c.PendingIdleTime = cmp.Or(c.PendingIdleTime, DefaultPendingIdleTime)
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
