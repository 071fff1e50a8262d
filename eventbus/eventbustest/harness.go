package eventbustest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// Bus is what the suite asks of a bus: the verbs of [eventbus.Bus], which every
// backend's bus has by embedding one.
type Bus interface {
	eventbus.AnyBus
	// What the suite asks of it besides; see [eventbus.Bus].
	ClearSubscribers()
	SubscriberCount() int
	SubscriberCountFor(t eventbus.Type) int
	WildcardSubscriberCount() int
	ResetStats()
	BackgroundTaskCount() int
	DeadLetters() *dlq.Queue
	Chain() string
	Running() <-chan struct{}
}

var _ Bus = (*eventbus.Bus)(nil)

// Options are how a case wants a bus to be. Open passes them on as they are;
// zero means the bus's own default, except for Topic, Group, Consumer, Registry
// and Logger, which the suite always sets.
type Options struct {
	// Topic and Group are unique for the case; buses that are opened on one
	// topic must meet, and those of one group share. Consumer is unique for each
	// bus.
	Topic, Group, Consumer string
	// Registry knows the events of the suite.
	Registry *eventbus.Registry
	// Codec, and all that has no comment of its own, is as in eventbus.Config.
	Codec codec.Codec

	// Concurrency is ignored by a bus without such a setting, which then lacks
	// [Concurrency].
	Concurrency    int
	Retry          middleware.Retry
	HandlerTimeout time.Duration

	// As in eventbus.Config.
	Middleware, HandlerMiddleware []message.HandlerMiddleware

	// As in eventbus.Config.
	MaxBackground   int
	MaxPayloadBytes int
	MaxReplays      int
	DisableDLQ      bool
	DrainTimeout    time.Duration

	// MaxDeliveries is after how many deliveries an event that kills its consumer
	// is buried. It is ignored by a bus that lacks [DeliveryLimit].
	MaxDeliveries int

	// FastRecovery asks for the shortest sensible time until the events of a
	// dead consumer are given to others: [Harness].RecoveryTime.
	FastRecovery bool

	// TracerProvider and Logger get what the bus tells.
	TracerProvider trace.TracerProvider
	Logger         *slog.Logger
}

// Instance is one opened bus: what one process would have.
type Instance struct {
	// Bus is what was opened; the suite shuts it down.
	Bus Bus
	// Crash abandons the consumer as SIGKILL would: from now on the broker hears
	// nothing of it, no acknowledgement and no farewell. What its handlers do
	// meanwhile does not matter. Required unless [CrashRecovery] is lacking.
	Crash func()
	// Stall holds up publishing until release is called: the broker takes
	// nothing and answers nothing. Required unless [Stalling] is lacking or the
	// bus is [Synchronous].
	Stall func() (release func())
	// StillOpen tells, after the bus was shut down, whether what it was given
	// (client, publisher, subscriber, store) is still usable. Required unless
	// [Owned] is lacking.
	StillOpen func() error
}

// Harness is how the suite gets at one kind of bus.
type Harness struct {
	// Name of the kind, for the table.
	Name string
	// Open opens a bus; it is called several times in a case, from one
	// goroutine unless the case is about that. What it starts beside the bus
	// ends with t.Cleanup; the suite shuts the bus down. A configuration that
	// the bus refuses is returned as an error; what the harness itself cannot do
	// is a t.Fatal.
	// What a bus hands back must come again well within Patience: set times
	// after which the broker or the adapter takes events from a consumer that
	// is gone to a few seconds.
	Open func(t testing.TB, o Options) (Instance, error)
	// Lacks declares what the bus cannot do.
	Lacks Lacks

	// Inject puts a message on the topic in the transport's own form, with any
	// payload and metadata. Required unless [Injection] is lacking.
	Inject func(t testing.TB, topic string, msg *message.Message)
	// InjectForeign puts an entry there that is not in that form. Required unless
	// [ForeignEntries] is lacking.
	InjectForeign func(t testing.TB, topic string)
	// RecoveryTime is how long after a crash the events of a consumer with
	// FastRecovery are given to others. Required unless [SlowHandlers] is lacking.
	RecoveryTime time.Duration
	// Secrets are the texts that must show nowhere, such as the password in the
	// broker's address. Required unless [Secrets] is lacking.
	Secrets []string

	// OpenUnreachable opens a bus, with the secrets, whose broker is not there; it
	// may return an error or a bus that cannot publish. What both then say is
	// searched for the secrets. Nil leaves that out.
	OpenUnreachable func(t testing.TB, o Options) (Instance, error)

	// Patience is how long a case waits for what must happen. 0 means
	// DefaultPatience.
	Patience time.Duration
	// Seed of what the suite makes up at random; 0 means a new one for each
	// run. It is printed.
	Seed uint64
	// Small makes the large cases a tenth as large: for slow brokers.
	Small bool
	// Serial runs the cases one after another.
	Serial bool
	// IgnoreGoroutines are texts in the stacks of goroutines that may outlive a
	// bus: those of a client that several buses share.
	IgnoreGoroutines []string
}

// DefaultPatience is far above what any case takes on an idle machine, since a
// wait that is cut short looks like a lost event.
const DefaultPatience = 20 * time.Second

// problems tells what the harness forgot.
func (h Harness) problems() []string {
	bad := h.Lacks.problems()
	if h.Name == "" {
		bad = append(bad, "Name: must not be empty")
	}
	if h.Open == nil {
		bad = append(bad, "Open: must not be nil")
	}
	for _, r := range []struct {
		missing bool
		field   string
		feature Feature
	}{
		{h.Inject == nil, "Inject", Injection},
		{h.InjectForeign == nil, "InjectForeign", ForeignEntries},
		{h.RecoveryTime <= 0, "RecoveryTime", SlowHandlers},
		{len(h.Secrets) == 0, "Secrets", Secrets},
	} {
		if _, lacking := h.Lacks[r.feature]; r.missing && !lacking {
			bad = append(bad, r.field+": required, unless Lacks has "+string(r.feature)+" with the reason")
		}
	}
	return bad
}

func (h Harness) withDefaults() Harness {
	if h.Patience <= 0 {
		h.Patience = DefaultPatience
	}
	if h.Seed == 0 {
		h.Seed = uint64(time.Now().UnixNano())
	}
	return h
}

// Config returns the configuration of a bus on a Publisher and Subscriber that
// the harness fills in, with everything that the case wants. Dead letters are
// the harness's, too.
func Config(o Options) eventbus.Config {
	return eventbus.Config{
		Registry: o.Registry, Codec: o.Codec, Topic: o.Topic, Group: o.Group, Concurrency: o.Concurrency,
		Retry: o.Retry, HandlerTimeout: o.HandlerTimeout, Middleware: o.Middleware, HandlerMiddleware: o.HandlerMiddleware,
		DisableDLQ: o.DisableDLQ, MaxReplays: o.MaxReplays, MaxBackground: o.MaxBackground, MaxPayloadBytes: o.MaxPayloadBytes,
		DrainTimeout: o.DrainTimeout, TracerProvider: o.TracerProvider, Logger: o.Logger,
	}
}
