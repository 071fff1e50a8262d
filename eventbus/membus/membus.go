package membus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/middleware"
)

// Config opens an in-memory bus. Only Registry is required; the zero value of
// every other field is its default, the same as on the brokers.
type Config struct {
	// Registry knows the event types. Required.
	Registry *eventbus.Registry
	// Name stands where a broker has a topic: in letters, logs, spans and
	// metrics. Empty means "events".
	Name string
	// Group is the consumer group told in letters; empty means "default".
	Group string
	// Codec spells letters, and the messages that the middlewares below see.
	// Nil means codec.JSON.
	Codec codec.Codec

	// Retry is the policy for all handlers without one of their own; its zero
	// value means three retries after 1, 2 and 4 seconds. Publish waits for
	// them.
	Retry middleware.Retry
	// HandlerTimeout bounds each attempt of a handler. Zero means no bound.
	HandlerTimeout time.Duration
	// Middleware is the user's own around each message, HandlerMiddleware
	// around each attempt of each handler; the first is outermost. With any of
	// them each event is encoded, so that they see what they would see on a
	// broker.
	Middleware, HandlerMiddleware []message.HandlerMiddleware

	// DeadLetters keeps what handlers gave up on, and stays the caller's. Nil
	// means a dlq.MemStore of the bus's own.
	DeadLetters dlq.Store
	// MaxDeadLetters bounds that store; 0 means dlq.DefaultMemMax. A full store
	// takes no more: the Publish whose event cannot be buried waits, until there
	// is room or its context ends.
	MaxDeadLetters int
	// DisableDLQ drops such events instead: logged as errors, and counted.
	DisableDLQ bool
	// MaxReplays is how often a letter may be replayed without force; 0 means
	// dlq.DefaultMaxReplays, dlq.Unlimited no cap.
	MaxReplays int

	// OnBuried is called after an event was buried and confirmed, with its
	// letter: to alert, or to tell a waiting user. It must not block; a panic in
	// it is logged.
	OnBuried func(ctx context.Context, l dlq.Letter)

	// MaxBackground bounds the background publishes under way; 0 means
	// eventbus.DefaultMaxBackground.
	MaxBackground int
	// DrainTimeout bounds a Shutdown whose context has no deadline; 0 means
	// eventbus.DefaultDrainTimeout.
	DrainTimeout time.Duration

	// DisableTracing switches spans off; nil providers mean OpenTelemetry's
	// global ones.
	DisableTracing bool
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// Logger gets what an operator must know; nil means silence.
	Logger *slog.Logger
}

// Validate reports every problem of the config at once.
func (c Config) Validate() error {
	var errs []error
	if c.MaxDeadLetters < 0 {
		errs = append(errs, fmt.Errorf("membus: Config.MaxDeadLetters: %d must not be negative", c.MaxDeadLetters))
	}
	if c.DeadLetters != nil && c.MaxDeadLetters > 0 {
		errs = append(errs, errors.New("membus: Config.MaxDeadLetters: is for the bus's own store; DeadLetters is given"))
	}
	if err := c.bus().Validate(); err != nil {
		errs = append(errs, &configError{err})
	}
	return errors.Join(errs...)
}

// configError names this config in the problems that the facade reports.
type configError struct{ err error }

func (e *configError) Error() string {
	return strings.NewReplacer("eventbus: Config.Topic:", "membus: Config.Name:", "eventbus: Config.", "membus: Config.").Replace(e.err.Error())
}

func (e *configError) Unwrap() error { return e.err }

// New opens an in-memory bus. It starts nothing; Shutdown ends it.
func New(c Config) (*eventbus.Bus, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	cfg := c.bus()
	if cfg.DeadLetters == nil && !c.DisableDLQ {
		cfg.DeadLetters = dlq.NewMemStore(dlq.MemConfig{Max: c.MaxDeadLetters})
	}
	return eventbus.New(cfg)
}

func (c Config) bus() eventbus.Config {
	if c.Name == "" {
		c.Name = "events"
	}
	return eventbus.Config{
		Publisher: direct.Transport{}, Subscriber: direct.Transport{},
		Registry: c.Registry, Codec: c.Codec, Topic: c.Name, Group: c.Group, System: "memory",
		Retry: c.Retry, HandlerTimeout: c.HandlerTimeout, Middleware: c.Middleware, HandlerMiddleware: c.HandlerMiddleware,
		DeadLetters: c.DeadLetters, DisableDLQ: c.DisableDLQ, MaxReplays: c.MaxReplays, OnBuried: c.OnBuried,
		MaxBackground: c.MaxBackground, DrainTimeout: c.DrainTimeout,
		DisableTracing: c.DisableTracing, TracerProvider: c.TracerProvider, MeterProvider: c.MeterProvider,
		Logger: c.Logger,
	}
}
