package eventbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/middleware/tracing"
)

// Defaults of [Config].
const (
	// DefaultGroup is the consumer group of a config that names none.
	DefaultGroup = "default"
	// DefaultMaxBackground is enough to hide a slow broker from bursts of
	// requests; each background publish holds its events in memory.
	DefaultMaxBackground = 1000
	// DefaultMaxPayloadBytes is what the brokers take in their own default
	// configuration (Kafka's is the lowest, 1 MiB with the record's overhead).
	DefaultMaxPayloadBytes = 1_000_000
	// DefaultDrainTimeout is the reference's, and Kubernetes' grace period:
	// where that is not raised, set DrainTimeout some seconds lower, or the rest
	// of the program has no time left.
	DefaultDrainTimeout = 30 * time.Second
)

// NoTimeout switches a time-out off where zero means its default.
const NoTimeout time.Duration = -1

// Config opens a [Bus] on a Watermill Publisher and Subscriber. The zero value
// of every field but Publisher, Registry and Topic is its default.
type Config struct {
	// Publisher publishes the events, and stays the caller's: the bus does not
	// close it. One that implements [BatchPublisher] gets whole batches and
	// tells the outcome of each event. Any other is called with one event at a
	// time, and an event counts as confirmed when Publish returns nil: what
	// that is worth is for the publisher to say.
	Publisher message.Publisher
	// Subscriber delivers them, and stays the caller's too. Nil makes a bus
	// that can only publish. One that implements router.Drainer drains itself;
	// any other is wrapped with router.Decorate. Buses may share one, as long
	// as it is no Drainer or a router.SubscriptionDrainer (what router.Decorate
	// returns is): of another Drainer the first shutdown ends all subscriptions.
	Subscriber message.Subscriber
	// Registry knows the event types. Required.
	Registry *Registry
	// Codec turns events into bytes and back. Nil means codec.JSON, with a
	// limit that lets MaxPayloadBytes through. Any other has limits of its own.
	Codec codec.Codec
	// Topic is what is published to and subscribed to. Required.
	Topic string
	// Group is the consumer group, told to handlers and in letters; the
	// Subscriber must be configured with it as its kind requires. Empty means
	// DefaultGroup.
	Group string
	// System names the broker in spans and metrics; empty means "watermill".
	System string

	// Concurrency is how many events of different keys are handled at once, by
	// a Subscriber that the bus wraps; 0 means 1: strictly in the order of the
	// stream. Stock adapters mostly deliver one message at a time, whatever is
	// set here. Subscribers that drain themselves have their own.
	Concurrency int
	// Key returns the ordering key of a message; nil means the aggregate id.
	Key func(*message.Message) string
	// Retry is the policy for all handlers without one of their own; its zero
	// value means three retries after 1, 2 and 4 seconds.
	Retry middleware.Retry
	// HandlerTimeout bounds each attempt of a handler: its context ends then.
	// Zero means no bound.
	HandlerTimeout time.Duration
	// Middleware is the user's own around each message, the first outermost:
	// inside the dead letters, outside the dispatch to handlers. What fails
	// here is buried without a retry. The event is not decoded yet: the package
	// documentation names the metadata that tells of it.
	Middleware []message.HandlerMiddleware
	// HandlerMiddleware is the user's own around each attempt of each handler,
	// outside that of the subscription.
	HandlerMiddleware []message.HandlerMiddleware

	// DeadLetters keeps the events that handlers gave up on, and stays the
	// caller's: a dlq.Topic on the same Pub/Sub, say. Nil means burial through
	// Publisher on DeadLetterTopic: letters are as safe there as anything that
	// it publishes, but cannot be listed or replayed by this bus.
	DeadLetters dlq.Store
	// DeadLetterTopic is used when DeadLetters is nil; empty means Topic plus
	// ".dlq".
	DeadLetterTopic string
	// DisableDLQ drops such events instead: logged as errors, counted, acked.
	DisableDLQ bool
	// MaxReplays is how often a letter may be replayed without force; 0 means
	// dlq.DefaultMaxReplays, dlq.Unlimited no cap.
	MaxReplays int

	// OnBuried is called after an event was buried and confirmed, with its
	// letter: to alert, or to tell a waiting user. It must not block; a panic in
	// it is logged.
	OnBuried func(ctx context.Context, l dlq.Letter)

	// MaxBackground bounds the background publishes under way; at the bound
	// PublishInBackground runs inline. 0 means DefaultMaxBackground.
	MaxBackground int
	// MaxPayloadBytes bounds the encoded event; a larger one is refused before
	// it is sent. 0 means DefaultMaxPayloadBytes.
	MaxPayloadBytes int
	// DrainTimeout bounds the drain when the context of Run ends, and a
	// Shutdown whose context has no deadline. 0 means DefaultDrainTimeout.
	DrainTimeout time.Duration

	// DisableTracing switches spans and metrics off. Otherwise they go to TracerProvider,
	// nil meaning OpenTelemetry's global one; which does nothing, at no cost,
	// until the program installs an SDK. MeterProvider and Propagator likewise;
	// the default propagator is W3C trace context and baggage.
	DisableTracing bool
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	Propagator     propagation.TextMapPropagator

	// Logger gets what an operator must know; nil means silence. Lines about an
	// event have handler, event_id and event_type, and trace_id where it has one.
	Logger *slog.Logger

	// AddStats, for backends, adds what only they can count to a snapshot.
	AddStats func(*Stats)
	// Observed, for backends, is what only they can tell to metrics: the lag,
	// reconnections and so on. A nil function is a metric that is not there; an
	// adapter of another kind can be given its lag here. A broker that does not
	// answer holds up no collection: Lag and DeadLetters are waited for a second at
	// most, and until they answer again not at all.
	Observed tracing.Observed
	// OnClose, for backends, is called last by Shutdown, once, to close what
	// the backend opened.
	OnClose func(context.Context) error
}

// Validate reports every problem of the config at once, nil when there is
// none. New calls it.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, problem string) {
		errs = append(errs, fmt.Errorf("eventbus: Config.%s: %s", field, problem))
	}
	wrong := func(field string, err error) {
		errs = append(errs, fmt.Errorf("eventbus: Config.%s: %w", field, err))
	}
	if c.Publisher == nil {
		bad("Publisher", "must not be nil")
	}
	if c.Registry == nil {
		bad("Registry", "must not be nil; make one with NewRegistry and Register the event types")
	}
	if err := checkTopic(c.Topic); err != nil {
		wrong("Topic", err)
	}
	if c.Group != "" {
		if err := checkName("group", c.Group); err != nil {
			wrong("Group", err)
		}
	}
	if c.DeadLetterTopic != "" {
		if err := checkTopic(c.DeadLetterTopic); err != nil {
			wrong("DeadLetterTopic", err)
		} else if c.DeadLetterTopic == c.Topic {
			bad("DeadLetterTopic", "must not be Topic itself")
		}
	}
	for _, n := range []struct {
		field string
		value int
	}{
		{"Concurrency", c.Concurrency},
		{"MaxBackground", c.MaxBackground},
		{"MaxPayloadBytes", c.MaxPayloadBytes},
	} {
		if n.value < 0 {
			bad(n.field, fmt.Sprintf("%d must not be negative", n.value))
		}
	}
	if c.MaxReplays < dlq.Unlimited {
		bad("MaxReplays", fmt.Sprintf("%d must be at least -1 (dlq.Unlimited)", c.MaxReplays))
	}
	if c.HandlerTimeout < 0 && c.HandlerTimeout != NoTimeout {
		bad("HandlerTimeout", fmt.Sprintf("%v must not be negative", c.HandlerTimeout))
	}
	if c.DrainTimeout < 0 {
		bad("DrainTimeout", fmt.Sprintf("%v must not be negative", c.DrainTimeout))
	}
	if err := c.Retry.Validate(); err != nil {
		wrong("Retry", err)
	}
	for i, mw := range c.Middleware {
		if mw == nil {
			bad(fmt.Sprintf("Middleware[%d]", i), "must not be nil")
		}
	}
	for i, mw := range c.HandlerMiddleware {
		if mw == nil {
			bad(fmt.Sprintf("HandlerMiddleware[%d]", i), "must not be nil")
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Codec == nil {
		c.Codec = codec.JSON{MaxBytes: max(c.MaxPayloadBytes, codec.DefaultMaxBytes)}
	}
	if c.Group == "" {
		c.Group = DefaultGroup
	}
	if c.System == "" {
		c.System = "watermill"
	}
	if c.Concurrency == 0 {
		c.Concurrency = 1
	}
	if c.DeadLetterTopic == "" {
		c.DeadLetterTopic = c.Topic + ".dlq"
	}
	if c.MaxBackground == 0 {
		c.MaxBackground = DefaultMaxBackground
	}
	if c.MaxPayloadBytes == 0 {
		c.MaxPayloadBytes = DefaultMaxPayloadBytes
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	} else {
		c.Logger = slog.New(tracing.LogHandler(c.Logger.Handler()))
	}
	return c
}
