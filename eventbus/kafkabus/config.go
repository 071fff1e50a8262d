package kafkabus

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
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
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
	// DefaultTopicPrefix makes the topic events.stream.
	DefaultTopicPrefix = "events"

	// DefaultDLQTopicSuffix makes the dead letters events.stream.dlq.
	DefaultDLQTopicSuffix = ".dlq"
)

// Config opens a [Bus]. Only Registry is required. Every formatted form of it
// shows no user, no password and no key.
type Config struct {
	// BootstrapServers and what follows, to Options, are as in [ClientConfig].
	// They are not used with Client.
	BootstrapServers          string
	SecurityProtocol          SecurityProtocol
	SASLMechanism             SASLMechanism
	SASLUsername              string
	SASLPassword              string
	SASL                      sasl.Mechanism
	CAFile, CertFile, KeyFile string
	SkipHostnameCheck         bool
	TLS                       *tls.Config
	AllowPlaintextPassword    bool
	ConnectTimeout            time.Duration
	Acks                      Acks
	Compression               Compression
	BatchBytes                int
	Linger                    time.Duration
	DeliveryTimeout           time.Duration
	MaxBufferedRecords        int
	Options                   []kgo.Opt
	// Client is used instead, and stays yours: Shutdown does not close it. Its
	// options serve the consuming client, too. It must be in no group and have
	// no transaction.
	Client *kgo.Client

	// TopicPrefix names the topic {prefix}.stream. Empty means
	// [DefaultTopicPrefix].
	TopicPrefix string
	// DLQTopicSuffix names the topic of the dead letters {prefix}.stream{suffix}.
	// Empty means [DefaultDLQTopicSuffix].
	DLQTopicSuffix string
	// Topics says whether missing topics are created. That of the dead letters
	// gets as many partitions as the main one has.
	Topics TopicConfig

	// ConsumerGroup shares the events. Empty means eventbus.DefaultGroup.
	ConsumerGroup string
	// ConsumerName and what follows, to RevokeTimeout, are as in
	// [SubscriberConfig].
	ConsumerName      string
	StaticMembership  bool
	StartOffset       Offset
	SessionTimeout    time.Duration
	HeartbeatInterval time.Duration
	MaxPollInterval   time.Duration
	ConsumerProtocol  bool
	ReadCommitted     bool
	Concurrency       int
	MaxInFlight       int
	MaxInFlightBytes  int
	MaxDeliveries     int
	AckDelay          time.Duration
	RevokeTimeout     time.Duration

	// The rest is the facade's, as in eventbus.Config. Key also chooses the key
	// of the records, and with it their partitions.
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
	} else {
		errs = append(errs, checkClient("Config", c.Client)...)
		if c.BootstrapServers != "" || c.hasSecurity() || len(c.Options) > 0 {
			errs = append(errs, errors.New("kafkabus: Config.Client: cannot be set together with BootstrapServers, security or Options"))
		}
	}
	main, dead := c.topics()
	for field, topic := range map[string]string{"TopicPrefix": main, "DLQTopicSuffix": dead} {
		if problem := badTopic(topic); problem != "" {
			errs = append(errs, fmt.Errorf("kafkabus: Config.%s: makes the topic %q, which %s", field, topic, problem))
		}
	}
	errs = append(errs, c.facade(unsetPublisher{}, nil, nil).Validate())
	errs = append(errs, c.subscriber().check()...)
	return inConfig(errors.Join(errs...))
}

func (c Config) hasSecurity() bool {
	return c.SecurityProtocol != "" || c.client().protocol() != Plaintext
}

// badTopic tells what Kafka has against a name.
func badTopic(topic string) string {
	if len(topic) > 249 {
		return "is longer than the 249 bytes that Kafka allows"
	}
	for _, r := range topic {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-' {
			return "has other characters than letters, digits, '.', '_' and '-'"
		}
	}
	return ""
}

// inConfig names this config in the problems that the parts report of theirs.
func inConfig(err error) error {
	return transport.InConfig(err,
		"eventbus: Config.Topic:", "kafkabus: Config.TopicPrefix:",
		"eventbus: Config.DeadLetterTopic:", "kafkabus: Config.DLQTopicSuffix:",
		"eventbus: Config.Group:", "kafkabus: Config.ConsumerGroup:",
		"eventbus: Config.", "kafkabus: Config.",
		"kafkabus: ClientConfig.", "kafkabus: Config.",
		"kafkabus: SubscriberConfig.", "kafkabus: Config.",
	)
}

// topics returns the names of the topic and of its dead letters.
func (c Config) topics() (main, dead string) {
	main = cmp.Or(c.TopicPrefix, DefaultTopicPrefix) + ".stream"
	return main, main + cmp.Or(c.DLQTopicSuffix, DefaultDLQTopicSuffix)
}

func (c Config) client() ClientConfig {
	return ClientConfig{
		BootstrapServers: c.BootstrapServers, SecurityProtocol: c.SecurityProtocol, SASLMechanism: c.SASLMechanism,
		SASLUsername: c.SASLUsername, SASLPassword: c.SASLPassword, SASL: c.SASL, CAFile: c.CAFile, CertFile: c.CertFile,
		KeyFile: c.KeyFile, SkipHostnameCheck: c.SkipHostnameCheck, TLS: c.TLS, AllowPlaintextPassword: c.AllowPlaintextPassword,
		ConnectTimeout: c.ConnectTimeout, Acks: c.Acks, Compression: c.Compression, BatchBytes: c.BatchBytes, Linger: c.Linger,
		DeliveryTimeout: c.DeliveryTimeout, MaxBufferedRecords: c.MaxBufferedRecords, Options: c.Options,
	}
}

func (c Config) subscriber() SubscriberConfig {
	return SubscriberConfig{
		ConsumerGroup: cmp.Or(c.ConsumerGroup, eventbus.DefaultGroup), ConsumerName: c.ConsumerName,
		StaticMembership: c.StaticMembership, StartOffset: c.StartOffset, SessionTimeout: c.SessionTimeout,
		HeartbeatInterval: c.HeartbeatInterval, MaxPollInterval: c.MaxPollInterval, ConsumerProtocol: c.ConsumerProtocol,
		ReadCommitted: c.ReadCommitted, Topics: c.Topics, Concurrency: c.Concurrency, Key: c.Key, MaxInFlight: c.MaxInFlight,
		MaxInFlightBytes: c.MaxInFlightBytes, MaxDeliveries: c.MaxDeliveries, AckDelay: c.AckDelay, RevokeTimeout: c.RevokeTimeout,
		DrainTimeout: c.DrainTimeout, Logger: c.Logger,
	}
}

func (c Config) facade(pub message.Publisher, sub message.Subscriber, onClose func(context.Context) error) eventbus.Config {
	main, dead := c.topics()
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

// unsetPublisher stands for what will be there, while a configuration is checked.
type unsetPublisher struct{ message.Publisher }

// String shows the configuration without secrets.
func (c Config) String() string {
	main, dead := c.topics()
	server := c.client().String()
	if c.Client != nil {
		server = "(given client)"
	}
	return fmt.Sprintf("{Client:%s Topic:%s DeadLetters:%s DisableDLQ:%t ConsumerGroup:%s ConsumerName:%s StaticMembership:%t SessionTimeout:%v MaxPollInterval:%v Concurrency:%d MaxInFlight:%d MaxInFlightBytes:%d MaxDeliveries:%d}",
		server, main, dead, c.DisableDLQ, cmp.Or(c.ConsumerGroup, eventbus.DefaultGroup), c.ConsumerName, c.StaticMembership,
		c.SessionTimeout, c.MaxPollInterval, c.Concurrency, c.MaxInFlight, c.MaxInFlightBytes, c.MaxDeliveries)
}

// Format shows the same for every verb: %d and %x would look past String.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// GoString shows the same for %#v.
func (c Config) GoString() string { return "kafkabus.Config" + c.String() }

// LogValue shows the same in logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON shows the same in JSON.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }
