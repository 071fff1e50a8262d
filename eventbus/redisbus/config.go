package redisbus

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/middleware"
)

const (
	// DefaultStreamPrefix makes the stream events:stream.
	DefaultStreamPrefix = "events"

	// DefaultDLQStreamSuffix makes the dead letters events:stream_dlq.
	DefaultDLQStreamSuffix = "_dlq"
)

// Config opens a [Bus]. Only Registry is required. Every formatted form of it
// shows the URL without user, password and query.
type Config struct {
	// URL names the server, as in [ClientConfig]. Empty means [DefaultURL].
	URL string
	// TLS, Credentials, AllowPlaintextPassword, ConnectTimeout, SocketTimeout
	// and PoolSize are as in [ClientConfig]. They are not used with Client.
	TLS                    *tls.Config
	Credentials            func(ctx context.Context) (user, password string, err error)
	AllowPlaintextPassword bool
	ConnectTimeout         time.Duration
	SocketTimeout          time.Duration
	PoolSize               int
	// Client is used instead of URL, and stays yours: Shutdown does not close
	// it. It may be a cluster's or a sentinel's.
	Client redis.UniversalClient

	// StreamPrefix names the stream {prefix}:stream. Empty means
	// [DefaultStreamPrefix].
	StreamPrefix string
	// DLQStreamSuffix names the stream of the dead letters {prefix}:stream{suffix}.
	// Empty means [DefaultDLQStreamSuffix].
	DLQStreamSuffix string
	// Form is how entries are written; all forms are read. Choose [FormText]
	// where a Python consumer reads the stream.
	Form Form
	// MaxLen and MaxAge trim the stream, as in [PublisherConfig]. 0 means that
	// it grows.
	MaxLen int64
	MaxAge time.Duration

	// ConsumerGroup shares the events. Empty means eventbus.DefaultGroup.
	ConsumerGroup string
	// ConsumerName, BatchSize, BlockTime, Concurrency, MaxInFlight,
	// PendingIdleTime, MaxDeliveries and AckDelay are as in [SubscriberConfig].
	ConsumerName    string
	BatchSize       int
	BlockTime       time.Duration
	Concurrency     int
	MaxInFlight     int
	PendingIdleTime time.Duration
	MaxDeliveries   int
	AckDelay        time.Duration

	// The rest is the facade's, as in eventbus.Config.
	Registry          *eventbus.Registry
	Codec             codec.Codec
	Key               func(*message.Message) string
	Retry             middleware.Retry
	HandlerTimeout    time.Duration
	Middleware        []message.HandlerMiddleware
	HandlerMiddleware []message.HandlerMiddleware
	DisableDLQ        bool
	MaxReplays        int
	OnBuried          func(ctx context.Context, l dlq.Letter) // also of events over MaxDeliveries
	MaxBackground     int
	MaxPayloadBytes   int
	DrainTimeout      time.Duration
	DisableTracing    bool
	TracerProvider    trace.TracerProvider
	MeterProvider     metric.MeterProvider
	Propagator        propagation.TextMapPropagator
	Logger            *slog.Logger
}

// Validate reports every problem of the configuration at once, or nil. Open
// calls it.
func (c Config) Validate() error {
	var errs []error
	if c.Client == nil {
		errs = append(errs, c.client().Validate())
	} else if c.URL != "" || c.TLS != nil || c.Credentials != nil {
		errs = append(errs, errors.New("redisbus: Config.Client: cannot be set together with URL, TLS or Credentials"))
	}
	if c.Form != FormWatermill && c.Form != FormText {
		errs = append(errs, fmt.Errorf("redisbus: Config.Form: %v is unknown", c.Form))
	}
	errs = append(errs, checkTrimming("Config", c.MaxLen, c.MaxAge)...)
	sub := c.subscriber()
	sub.Client = unsetClient{}
	errs = append(errs, c.facade(unsetPublisher{}, nil, nil).Validate(), sub.Validate())
	return inConfig(errors.Join(errs...))
}

// inConfig names this config in the problems that the parts report of theirs.
func inConfig(err error) error {
	return transport.InConfig(err,
		"eventbus: Config.Topic:", "redisbus: Config.StreamPrefix:",
		"eventbus: Config.DeadLetterTopic:", "redisbus: Config.DLQStreamSuffix:",
		"eventbus: Config.Group:", "redisbus: Config.ConsumerGroup:",
		"eventbus: Config.", "redisbus: Config.",
		"redisbus: ClientConfig.", "redisbus: Config.",
		"redisbus: SubscriberConfig.", "redisbus: Config.",
	)
}

// stream returns the names of the stream and of its dead letters.
func (c Config) stream() (main, dead string) {
	main = cmp.Or(c.StreamPrefix, DefaultStreamPrefix) + ":stream"
	return main, main + cmp.Or(c.DLQStreamSuffix, DefaultDLQStreamSuffix)
}

func (c Config) client() ClientConfig {
	return ClientConfig{
		URL: c.URL, TLS: c.TLS, Credentials: c.Credentials, AllowPlaintextPassword: c.AllowPlaintextPassword,
		ConnectTimeout: c.ConnectTimeout, SocketTimeout: c.SocketTimeout, PoolSize: c.PoolSize,
	}
}

func (c Config) subscriber() SubscriberConfig {
	return SubscriberConfig{
		ConsumerGroup: cmp.Or(c.ConsumerGroup, eventbus.DefaultGroup), ConsumerName: c.ConsumerName,
		BatchSize: c.BatchSize, BlockTime: c.BlockTime, Concurrency: c.Concurrency, MaxInFlight: c.MaxInFlight,
		PendingIdleTime: c.PendingIdleTime, MaxDeliveries: c.MaxDeliveries, AckDelay: c.AckDelay, Key: c.Key,
		DrainTimeout: c.DrainTimeout, Logger: c.Logger,
	}
}

func (c Config) facade(pub message.Publisher, sub message.Subscriber, onClose func(context.Context) error) eventbus.Config {
	main, dead := c.stream()
	return eventbus.Config{
		Publisher: pub, Subscriber: sub, OnClose: onClose,
		Topic: main, DeadLetterTopic: dead, Group: cmp.Or(c.ConsumerGroup, eventbus.DefaultGroup), System: System,
		Registry: c.Registry, Codec: c.Codec, Concurrency: c.Concurrency, Key: c.Key, Retry: c.Retry, HandlerTimeout: c.HandlerTimeout,
		Middleware: c.Middleware, HandlerMiddleware: c.HandlerMiddleware, DisableDLQ: c.DisableDLQ, MaxReplays: c.MaxReplays,
		OnBuried: c.OnBuried, MaxBackground: c.MaxBackground, MaxPayloadBytes: c.MaxPayloadBytes, DrainTimeout: c.DrainTimeout,
		DisableTracing: c.DisableTracing, TracerProvider: c.TracerProvider, MeterProvider: c.MeterProvider, Propagator: c.Propagator,
		Logger: c.Logger,
	}
}

// These stand for what will be there, while a configuration is checked.
type (
	unsetClient    struct{ redis.UniversalClient }
	unsetPublisher struct{ message.Publisher }
)

// String shows the configuration without secrets.
func (c Config) String() string {
	main, dead := c.stream()
	server := redacted(c.URL)
	if c.Client != nil {
		server = "(given client)"
	}
	sub := c.subscriber()
	return fmt.Sprintf("{URL:%s TLS:%t Credentials:%t Stream:%s DeadLetters:%s DisableDLQ:%t Form:%v MaxLen:%d MaxAge:%v ConsumerGroup:%s ConsumerName:%s BatchSize:%d BlockTime:%v Concurrency:%d MaxInFlight:%d PendingIdleTime:%v MaxDeliveries:%d}",
		server, c.TLS != nil, c.Credentials != nil, main, dead, c.DisableDLQ, c.Form, c.MaxLen, c.MaxAge, sub.ConsumerGroup, c.ConsumerName,
		c.BatchSize, c.BlockTime, c.Concurrency, c.MaxInFlight, c.PendingIdleTime, c.MaxDeliveries)
}

// Format shows the same for every verb: %d and %x would look past String.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// GoString shows the same for %#v.
func (c Config) GoString() string { return "redisbus.Config" + c.String() }

// LogValue shows the same in logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON shows the same in JSON.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }
