package rabbitbus

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/middleware"
)

// DefaultExchangeName is the exchange of a configuration that names none.
const DefaultExchangeName = "events"

// Config opens a [Bus]. Only Registry is required. Every formatted form of it
// shows URLs without user, password and query.
type Config struct {
	// URL names the broker, as in [ClientConfig]. Empty means [DefaultURL].
	URL string
	// MoreURLs, TLS, Credentials, AllowPlaintextPassword, ConnectTimeout and
	// Heartbeat are as in [ClientConfig]. They are not used with Connection.
	MoreURLs               []string
	TLS                    *tls.Config
	Credentials            func(ctx context.Context) (user, password string, err error)
	AllowPlaintextPassword bool
	ConnectTimeout         time.Duration
	Heartbeat              time.Duration
	// Connection is used instead of URL, for publishing and consuming, and stays
	// yours: Shutdown does not close it. See [UseConnection] for what is lost
	// with it.
	Connection *amqp.Connection

	// ExchangeName is what is published to. Empty means [DefaultExchangeName].
	ExchangeName string
	// ExchangeType is how it routes. Empty means [ExchangeTopic].
	ExchangeType ExchangeType
	// Topology says whether exchanges, queues and bindings are declared, only
	// checked, or left alone.
	Topology TopologyMode
	// Transient (the opposite of the reference's durable), AutoDelete, QueueType,
	// DeliveryLimit, SingleActiveConsumer, QueueArguments, RoutingKeyPattern,
	// NoDefaultBinding and Bindings are as in [TopologyConfig]. With
	// [ExchangeDirect] and no RoutingKeyPattern, the queue is bound to its own
	// name and to the routing key of each type in the Registry that has an
	// aggregate type.
	Transient            bool
	AutoDelete           bool
	QueueType            QueueType
	DeliveryLimit        int
	SingleActiveConsumer bool
	QueueArguments       amqp.Table
	RoutingKeyPattern    string
	NoDefaultBinding     bool
	Bindings             []Binding

	// PublishOnly makes a bus that declares no queue, and cannot Run.
	PublishOnly bool
	// AllowUnroutable and ConfirmTimeout are as in [PublisherConfig].
	AllowUnroutable bool
	ConfirmTimeout  time.Duration

	// ConsumerGroup shares the events, in the queue {exchange}.{group}. Empty
	// means eventbus.DefaultGroup.
	ConsumerGroup string
	// ConsumerName, PrefetchCount, Concurrency, MaxDeliveries and AckDelay are as
	// in [SubscriberConfig].
	ConsumerName  string
	PrefetchCount int
	Concurrency   int
	MaxDeliveries int
	AckDelay      time.Duration

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
	if c.Connection == nil {
		errs = append(errs, c.client("").Validate())
	} else if c.URL != "" || len(c.MoreURLs) > 0 || c.TLS != nil || c.Credentials != nil {
		errs = append(errs, errors.New("rabbitbus: Config.Connection: cannot be set together with URL, MoreURLs, TLS or Credentials"))
	}
	if strings.HasPrefix(c.ExchangeName, "amq.") {
		errs = append(errs, errors.New("rabbitbus: Config.ExchangeName: names that begin with amq. are the broker's"))
	}
	unset := &Client{}
	pub, sub := c.publisher(unset), c.subscriber(unset)
	pub.Topology = TopologyConfig{}
	errs = append(errs, c.facade(unsetPublisher{}, nil, nil).Validate(), pub.Validate(), sub.Validate())
	return inConfig(errors.Join(errs...))
}

// inConfig names this config in the problems that the parts report of theirs.
func inConfig(err error) error {
	return transport.InConfig(err,
		"eventbus: Config.Topic:", "rabbitbus: Config.ExchangeName:",
		"eventbus: Config.Group:", "rabbitbus: Config.ConsumerGroup:",
		"eventbus: Config.", "rabbitbus: Config.",
		"rabbitbus: ClientConfig.", "rabbitbus: Config.",
		"rabbitbus: PublisherConfig.", "rabbitbus: Config.",
		"rabbitbus: SubscriberConfig.Topology.Mode", "rabbitbus: Config.Topology",
		"rabbitbus: SubscriberConfig.Topology.", "rabbitbus: Config.",
		"rabbitbus: SubscriberConfig.", "rabbitbus: Config.",
	)
}

func (c Config) exchange() string { return cmp.Or(c.ExchangeName, DefaultExchangeName) }

func (c Config) group() string { return cmp.Or(c.ConsumerGroup, eventbus.DefaultGroup) }

func (c Config) client(purpose string) ClientConfig {
	name := ""
	if purpose != "" {
		name = programName() + " " + c.exchange() + "." + c.group() + " " + purpose
	}
	return ClientConfig{
		URL: c.URL, MoreURLs: c.MoreURLs, TLS: c.TLS, Credentials: c.Credentials, AllowPlaintextPassword: c.AllowPlaintextPassword,
		ConnectTimeout: c.ConnectTimeout, Heartbeat: c.Heartbeat, Name: name, Logger: c.Logger,
	}
}

// TopologyConfig returns what exchanges and queues of the bus look like.
func (c Config) TopologyConfig() TopologyConfig {
	t := TopologyConfig{
		Mode: c.Topology, ExchangeType: c.ExchangeType, Transient: c.Transient, AutoDelete: c.AutoDelete,
		QueueType: c.QueueType, DeliveryLimit: c.DeliveryLimit, SingleActiveConsumer: c.SingleActiveConsumer,
		QueueArguments: c.QueueArguments, RoutingKeyPattern: c.RoutingKeyPattern, NoDefaultBinding: c.NoDefaultBinding,
		Bindings: c.Bindings, DisableDLQ: c.DisableDLQ,
	}
	if c.ExchangeType == ExchangeDirect && c.RoutingKeyPattern == "" && !c.NoDefaultBinding && c.Registry != nil {
		t.Bindings = append([]Binding{}, c.Bindings...)
		for _, et := range c.Registry.Types() {
			if et.AggregateType != "" {
				t.Bindings = append(t.Bindings, Binding{RoutingKey: RoutingKey(et.AggregateType, et.Name)})
			}
		}
	}
	return t
}

// Plan returns all that the bus declares, to be printed or exported.
func (c Config) Plan() Topology {
	if c.PublishOnly {
		return c.TopologyConfig().Exchange(c.exchange())
	}
	return c.TopologyConfig().Group(c.exchange(), c.group())
}

func (c Config) publisher(client *Client) PublisherConfig {
	return PublisherConfig{
		Client: client, Topology: c.TopologyConfig(), AllowUnroutable: c.AllowUnroutable, ConfirmTimeout: c.ConfirmTimeout, Logger: c.Logger,
	}
}

func (c Config) subscriber(client *Client) SubscriberConfig {
	return SubscriberConfig{
		Client: client, ConsumerGroup: c.group(), ConsumerName: c.ConsumerName, Topology: c.TopologyConfig(),
		PrefetchCount: c.PrefetchCount, Concurrency: c.Concurrency, MaxDeliveries: c.MaxDeliveries, AckDelay: c.AckDelay, Key: c.Key,
		DrainTimeout: c.DrainTimeout, Logger: c.Logger,
	}
}

func (c Config) facade(pub message.Publisher, sub message.Subscriber, onClose func(context.Context) error) eventbus.Config {
	return eventbus.Config{
		Publisher: pub, Subscriber: sub, OnClose: onClose,
		Topic: c.exchange(), DeadLetterTopic: DeadExchangeName(c.exchange()), Group: c.group(), System: System,
		Registry: c.Registry, Codec: c.Codec, Concurrency: c.Concurrency, Key: c.Key, Retry: c.Retry, HandlerTimeout: c.HandlerTimeout,
		Middleware: c.Middleware, HandlerMiddleware: c.HandlerMiddleware, DisableDLQ: c.DisableDLQ, MaxReplays: c.MaxReplays,
		OnBuried: c.OnBuried, MaxBackground: c.MaxBackground, MaxPayloadBytes: c.MaxPayloadBytes, DrainTimeout: c.DrainTimeout,
		DisableTracing: c.DisableTracing, TracerProvider: c.TracerProvider, MeterProvider: c.MeterProvider, Propagator: c.Propagator,
		Logger: c.Logger,
	}
}

// unsetPublisher stands for what will be there, while a configuration is
// checked.
type unsetPublisher struct{ message.Publisher }

// String shows the configuration without secrets.
func (c Config) String() string {
	broker := redactedAll(append([]string{cmp.Or(c.URL, DefaultURL)}, c.MoreURLs...))
	if c.Connection != nil {
		broker = "(given connection)"
	}
	t := c.TopologyConfig().withDefaults()
	return fmt.Sprintf("{URL:%s TLS:%t Credentials:%t Exchange:%s ExchangeType:%s QueueType:%s Topology:%v ConsumerGroup:%s ConsumerName:%s "+
		"PrefetchCount:%d Concurrency:%d MaxDeliveries:%d PublishOnly:%t DisableDLQ:%t}",
		broker, c.TLS != nil, c.Credentials != nil, c.exchange(), t.ExchangeType, t.QueueType, c.Topology, c.group(), c.ConsumerName,
		c.PrefetchCount, c.Concurrency, c.MaxDeliveries, c.PublishOnly, c.DisableDLQ)
}

// Format shows the same for every verb: %d and %x would look past String.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// GoString shows the same for %#v.
func (c Config) GoString() string { return "rabbitbus.Config" + c.String() }

// LogValue shows the same in logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON shows the same in JSON.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }
