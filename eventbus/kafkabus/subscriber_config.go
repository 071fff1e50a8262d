package kafkabus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/router"
)

const (
	// DefaultSessionTimeout is how long a member may be silent before its
	// partitions are given to others. Shorter evicts processes that were only
	// suspended; longer delays what a dead one held.
	DefaultSessionTimeout = 30 * time.Second

	// DefaultHeartbeatInterval is a third of the session time-out, so that two
	// may be lost.
	DefaultHeartbeatInterval = 10 * time.Second

	// DefaultMaxPollInterval is how long a rebalance waits for a member.
	DefaultMaxPollInterval = 5 * time.Minute

	// DefaultMaxInFlight leaves room for other keys behind one that backs off.
	// Larger means that more finished work is repeated after a crash.
	DefaultMaxInFlight = 1000

	// DefaultMaxInFlightBytes bounds the same in memory.
	DefaultMaxInFlightBytes = 16 << 20

	// DefaultMaxDeliveries leaves room for crashes that the record has nothing
	// to do with.
	DefaultMaxDeliveries = 5

	// DefaultAckDelay bounds how long a finished message waits to be committed.
	// All that a SIGKILL can make happen twice is what finished in it.
	DefaultAckDelay = 50 * time.Millisecond

	// DefaultNackDelay is how long a nacked message waits in memory.
	DefaultNackDelay = time.Second

	// DefaultRevokeTimeout is long enough for most handlers to end, and short
	// enough that the group does not notice.
	DefaultRevokeTimeout = 2 * time.Second

	// inFlightPerWorker leaves room for other keys behind a busy one.
	inFlightPerWorker = 16
)

// NoMaxDeliveries is the MaxDeliveries of a subscriber that never buries.
const NoMaxDeliveries = -1

// leastMaxDeliveries is what the search for the record that kills takes.
const leastMaxDeliveries = blindStarts + 1

// Offset is where a group begins that has committed nothing.
type Offset int

const (
	// Earliest begins with the oldest record: history is delivered.
	Earliest Offset = iota
	// Latest begins with what comes after the group was first joined: where that
	// is, is committed before anything is read. A partition that is added to the
	// topic later begins with what comes after a member has it.
	Latest
)

// SubscriberConfig configures a [Subscriber]. Only Client and ConsumerGroup are
// required.
type SubscriberConfig struct {
	// Client is asked for its options, with which each subscription makes a
	// client of its own, and for what administration there is. It stays yours.
	Client *kgo.Client

	// ConsumerGroup shares the partitions among its members.
	ConsumerGroup string

	// ConsumerName is this process's client id within the group. Empty means host
	// name and eight random digits.
	ConsumerName string

	// StaticMembership makes ConsumerName, which must then be set and unique in
	// the group, its group.instance.id: a restart within SessionTimeout keeps the
	// partitions and causes no rebalance. A stop does not leave the group either.
	StaticMembership bool

	// StartOffset is where a group begins that has committed nothing.
	StartOffset Offset

	// SessionTimeout, HeartbeatInterval and MaxPollInterval are the group's; 0
	// means their defaults. Heartbeats are sent however slow handlers are: a
	// handler slower than MaxPollInterval keeps its partition, as long as nobody
	// joins or leaves; see RevokeTimeout.
	SessionTimeout    time.Duration
	HeartbeatInterval time.Duration
	MaxPollInterval   time.Duration

	// ConsumerProtocol asks for the group protocol of KIP-848, with which the
	// brokers assign partitions; those before 4.0 are spoken to in the classic
	// way. SessionTimeout and HeartbeatInterval are then the brokers' own.
	ConsumerProtocol bool

	// ReadCommitted leaves out records of transactions that are open or aborted.
	ReadCommitted bool

	// Topics says whether a missing topic is created.
	Topics TopicConfig

	// Concurrency is how many messages of one subscription are handled at a
	// time, in whatever partitions they are. 0 means 1: one after the other. With
	// more, messages with one key are handled one at a time and in order.
	Concurrency int

	// Key returns what orders a message. Messages with an empty key have no
	// order among each other. nil means the record's key, or the metadata
	// aggregate_id if it has none. It is called from one goroutine a
	// subscription.
	Key func(*message.Message) string

	// MaxInFlight and MaxInFlightBytes bound what is read from one partition and
	// not committed: at the bound its fetching pauses, which no other partition
	// feels. 0 means [DefaultMaxInFlight] and [DefaultMaxInFlightBytes]. The
	// bytes may be exceeded by what one fetch brings.
	MaxInFlight      int
	MaxInFlightBytes int

	// MaxDeliveries is how often a record may kill its process before it is
	// buried in DeadLetters; see the package documentation. 0 means
	// [DefaultMaxDeliveries], [NoMaxDeliveries] that there is no limit; the least
	// is 3. Retries in a handler and hand-backs do not count.
	MaxDeliveries int

	// DeadLetters takes the records over MaxDeliveries. Their offset is committed
	// after the burial is confirmed; until then it is tried again. nil means no
	// limit.
	DeadLetters dlq.Burier

	// OnDead, when not nil, is told of each letter after its burial.
	OnDead func(dlq.Letter)

	// AckDelay bounds how long a finished message waits to be committed with
	// others. With no other record to handle it does not wait, unless the last
	// commit is less than that ago. 0 means [DefaultAckDelay].
	AckDelay time.Duration

	// NackDelay is how long a nacked message waits before it is delivered again,
	// in memory, its key waiting with it. A nack during a drain hands back. 0
	// means [DefaultNackDelay].
	NackDelay time.Duration

	// RevokeTimeout is how long a rebalance waits for the running handlers of a
	// partition that moves. Then their contexts end with the cause
	// [ErrPartitionLost]. 0 means [DefaultRevokeTimeout].
	RevokeTimeout time.Duration

	// DrainTimeout bounds a drain that was given no deadline: by Close, or by
	// the end of the context of Subscribe. 0 means router.DefaultDrainTimeout.
	DrainTimeout time.Duration

	// Logger receives one line for each change of state. nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once, or nil.
func (c SubscriberConfig) Validate() error {
	return errors.Join(append(checkClient("SubscriberConfig", c.Client), c.check()...)...)
}

func (c SubscriberConfig) check() (errs []error) {
	bad := func(field, problem string) {
		errs = append(errs, fmt.Errorf("kafkabus: SubscriberConfig.%s: %s", field, problem))
	}
	if c.ConsumerGroup == "" {
		bad("ConsumerGroup", "must not be empty")
	}
	if c.StaticMembership && c.ConsumerName == "" {
		bad("ConsumerName", "must not be empty with StaticMembership: it is what the group knows the member by")
	}
	if c.StartOffset != Earliest && c.StartOffset != Latest {
		bad("StartOffset", fmt.Sprintf("%d is unknown", c.StartOffset))
	}
	for _, n := range []struct {
		field string
		value int64
	}{
		{"SessionTimeout", int64(c.SessionTimeout)},
		{"HeartbeatInterval", int64(c.HeartbeatInterval)},
		{"MaxPollInterval", int64(c.MaxPollInterval)},
		{"Concurrency", int64(c.Concurrency)},
		{"MaxInFlight", int64(c.MaxInFlight)},
		{"MaxInFlightBytes", int64(c.MaxInFlightBytes)},
		{"AckDelay", int64(c.AckDelay)},
		{"NackDelay", int64(c.NackDelay)},
		{"RevokeTimeout", int64(c.RevokeTimeout)},
		{"DrainTimeout", int64(c.DrainTimeout)},
	} {
		if n.value < 0 {
			bad(n.field, "must not be negative")
		}
	}
	if c.MaxDeliveries != 0 && c.MaxDeliveries != NoMaxDeliveries && c.MaxDeliveries < leastMaxDeliveries {
		bad("MaxDeliveries", fmt.Sprintf("must be at least %d, or NoMaxDeliveries", leastMaxDeliveries))
	}
	if c.MaxInFlight > 0 && c.MaxInFlight < c.Concurrency {
		bad("MaxInFlight", fmt.Sprintf("%d is less than Concurrency %d", c.MaxInFlight, c.Concurrency))
	}
	if h, s := cmp.Or(c.HeartbeatInterval, DefaultHeartbeatInterval), cmp.Or(c.SessionTimeout, DefaultSessionTimeout); h >= s && h > 0 && s > 0 {
		bad("HeartbeatInterval", fmt.Sprintf("%v must be less than SessionTimeout %v", h, s))
	}
	if r, m := cmp.Or(c.RevokeTimeout, DefaultRevokeTimeout), cmp.Or(c.MaxPollInterval, DefaultMaxPollInterval); r >= m && m > 0 {
		bad("RevokeTimeout", fmt.Sprintf("%v must be less than MaxPollInterval %v: the group would not wait for it", r, m))
	}
	return append(errs, c.Topics.check("SubscriberConfig")...)
}

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	if c.ConsumerName == "" {
		c.ConsumerName = transport.ConsumerName()
	}
	c.SessionTimeout = cmp.Or(c.SessionTimeout, DefaultSessionTimeout)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, DefaultHeartbeatInterval)
	c.MaxPollInterval = cmp.Or(c.MaxPollInterval, DefaultMaxPollInterval)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, max(DefaultMaxInFlight, inFlightPerWorker*c.Concurrency))
	c.MaxInFlightBytes = cmp.Or(c.MaxInFlightBytes, DefaultMaxInFlightBytes)
	c.MaxDeliveries = cmp.Or(c.MaxDeliveries, DefaultMaxDeliveries)
	if c.DeadLetters == nil {
		c.MaxDeliveries = NoMaxDeliveries
	}
	c.AckDelay = cmp.Or(c.AckDelay, DefaultAckDelay)
	c.NackDelay = cmp.Or(c.NackDelay, DefaultNackDelay)
	c.RevokeTimeout = cmp.Or(c.RevokeTimeout, DefaultRevokeTimeout)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, router.DefaultDrainTimeout)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// member returns the options of the client that joins the group.
func (c SubscriberConfig) member(topic, name string) []kgo.Opt {
	oldest := kgo.NewOffset().AtStart()
	start := oldest
	if c.StartOffset == Latest {
		start = kgo.NewOffset().AtEnd()
	}
	opts := []kgo.Opt{
		kgo.ClientID(name),
		kgo.ConsumerGroup(c.ConsumerGroup),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(start),
		kgo.ConsumeResetOffset(oldest), // a group that was overtaken skips nothing that is there
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(c.HeartbeatInterval),
		kgo.RebalanceTimeout(c.MaxPollInterval),
		kgo.DisableAutoCommit(),
		// Between a poll and the table no callback can come in. It is for that
		// moment only: nothing waits there.
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchMaxPartitionBytes(int32(min(c.MaxInFlightBytes, 1<<20))),
	}
	if c.ReadCommitted {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if c.StaticMembership {
		opts = append(opts, kgo.InstanceID(name))
	}
	if c.ConsumerProtocol {
		return append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	return append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
}
