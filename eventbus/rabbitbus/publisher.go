package rabbitbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/transport"
)

const (
	// DefaultConfirmTimeout bounds a publish whose context has no deadline. A
	// broker may block for as long as its alarm lasts.
	DefaultConfirmTimeout = 30 * time.Second

	// DefaultMaxMessageBytes is what a broker of version 4 takes by default; it
	// closes the channel on a larger message.
	DefaultMaxMessageBytes = 16 << 20

	// window is how many messages may be written and not confirmed. More gains
	// nothing: the client's own bookkeeping grows with it.
	window = 1024

	// turn is how many messages of one call are written before those of
	// another have theirs.
	turn = 128
)

// PublisherConfig configures a [Publisher]. Only Client is required.
type PublisherConfig struct {
	// Client is used for publishing and stays yours: Close does not close it.
	Client *Client

	// Topology says what the exchanges look like that are published to, and
	// whether to declare them. Queues are not a publisher's business.
	Topology TopologyConfig

	// AllowUnroutable counts a message that no queue took as published. Without
	// it that is an [*UnroutableError].
	AllowUnroutable bool

	// ConfirmTimeout bounds a publish whose context has no deadline. 0 means
	// [DefaultConfirmTimeout].
	ConfirmTimeout time.Duration

	// MaxMessageBytes bounds a payload; a larger one is refused before it is
	// sent, since the broker would close the channel. 0 means
	// [DefaultMaxMessageBytes].
	MaxMessageBytes int

	// Logger receives one line for each change of state. nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once, or nil.
func (c PublisherConfig) Validate() error {
	var errs []error
	if c.Client == nil {
		errs = append(errs, errors.New("rabbitbus: PublisherConfig.Client: must not be nil"))
	}
	if c.ConfirmTimeout < 0 {
		errs = append(errs, errors.New("rabbitbus: PublisherConfig.ConfirmTimeout: must not be negative"))
	}
	if c.MaxMessageBytes < 0 {
		errs = append(errs, errors.New("rabbitbus: PublisherConfig.MaxMessageBytes: must not be negative"))
	}
	return errors.Join(append(errs, c.Topology.validate("PublisherConfig.Topology"))...)
}

// Publisher publishes Watermill messages to exchanges; the topic is the name of
// the exchange, the routing key that of [RoutingKey]. Every message is confirmed
// by the broker, and must find a queue. All messages of one call are written and
// then awaited together; concurrent calls share one channel and take turns.
//
// It may be used from many goroutines.
type Publisher struct {
	cfg   PublisherConfig
	log   *slog.Logger
	state transport.State

	mu      sync.Mutex
	queue   []*request
	running bool
	closed  bool
	blocked string        // why nothing is written now; empty: it is
	wake    chan struct{} // one token: the queue is not empty any more

	line *line // the one that is written to; nil between two

	stop  context.Context //nolint:containedctx // ends with Close
	end   context.CancelFunc
	calls sync.WaitGroup // of PublishBatch
	ended sync.WaitGroup
}

var _ eventbus.BatchPublisher = (*Publisher)(nil)

// NewPublisher returns a Publisher, or every problem of the configuration. It
// does not connect.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Topology = cfg.Topology.withDefaults()
	cfg.ConfirmTimeout = cmp.Or(cfg.ConfirmTimeout, DefaultConfirmTimeout)
	cfg.MaxMessageBytes = cmp.Or(cfg.MaxMessageBytes, DefaultMaxMessageBytes)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Publisher{cfg: cfg, log: cfg.Logger, state: transport.State{What: "publishing"}, wake: make(chan struct{}, 1)}
	p.stop, p.end = context.WithCancel(context.Background())
	return p, nil
}

// Publish publishes the messages to the exchange topic, in their order, and
// returns nil when the broker has confirmed every one and none was returned.
// Otherwise the error is a [*BatchError], or with one message that message's
// error; see [Publisher.PublishBatch]. It ends with the context of the first
// message.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	errs := p.PublishBatch(msgs[0].Context(), topic, msgs)
	switch {
	case errs == nil:
		return nil
	case len(errs) == 1:
		return errs[0]
	default:
		return &BatchError{Topic: topic, Errors: errs}
	}
}

// BatchError is returned by [Publisher.Publish] when not all of several
// messages are confirmed. Errors has an entry for each message, nil for those
// that are. errors.Is and errors.As look through all of them.
type BatchError struct {
	Topic  string // the exchange
	Errors []error
}

// Error counts the failures and quotes the first.
func (e *BatchError) Error() string {
	failed := e.Unwrap()
	return fmt.Sprintf("rabbitbus: publish to %q: %d of %d messages are not confirmed, the first: %v",
		e.Topic, len(failed), len(e.Errors), failed[0])
}

// Unwrap returns the errors of the messages that are not confirmed.
func (e *BatchError) Unwrap() []error {
	return transport.Failed(e.Errors)
}

// PublishBatch publishes the messages to the exchange topic, in their order,
// and returns nil when the broker has confirmed every one. Otherwise the result
// has an entry for each message: nil when it is confirmed; an error that wraps
// [ErrUnknown] when it may or may not be there; any other error when it is not:
// an [*UnroutableError] that names the routing key, a [*RefusedError] when the
// broker said so, a [*TopologyError] when there is no such exchange, a
// [*BlockedError] when the broker took nothing for as long as ctx allowed.
//
// It returns when ctx ends, if not before. The messages must not be changed
// until then.
func (p *Publisher) PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error {
	if len(msgs) == 0 {
		return nil
	}
	if topic == "" {
		return transport.All(len(msgs), errors.New("rabbitbus: publish: the topic must not be empty"))
	}
	return p.publish(ctx, topic, destination{plan: p.cfg.Topology.Exchange}, msgs)
}

// destination is where messages go beside their exchange.
type destination struct {
	key  string                         // instead of the messages' own, when not empty
	plan func(exchange string) Topology // what must be there
}

func (p *Publisher) publish(ctx context.Context, topic string, to destination, msgs []*message.Message) []error {
	if err := ctx.Err(); err != nil {
		return transport.All(len(msgs), fmt.Errorf("rabbitbus: publish to %q: not sent: %w", topic, context.Cause(ctx)))
	}
	req, invalid := p.prepare(topic, to, msgs)
	if len(req.items) == 0 {
		return invalid
	}
	return transport.Merge(invalid, p.submit(ctx, req))
}

// prepare encodes the messages. Those that cannot be are refused alone.
func (p *Publisher) prepare(topic string, to destination, msgs []*message.Message) (*request, []error) {
	req := &request{topic: topic, plan: to.plan, done: make(chan struct{})}
	if req.items = req.sole.item[:0]; len(msgs) > 1 {
		req.items = make([]publishing, 0, len(msgs))
	}
	var invalid []error
	for i, m := range msgs {
		item, err := encode(topic, m, p.cfg.Topology.Transient)
		if err == nil && len(m.Payload) > p.cfg.MaxMessageBytes {
			err = fmt.Errorf("the payload has %d bytes, at most %d are allowed", len(m.Payload), p.cfg.MaxMessageBytes)
		}
		if err != nil {
			if invalid == nil {
				invalid = make([]error, len(msgs))
			}
			invalid[i] = fmt.Errorf("rabbitbus: publish to %q: not sent: %w", topic, err)
			continue
		}
		if to.key != "" {
			item.key = to.key
		}
		req.items = append(req.items, item)
	}
	req.open = len(req.items)
	return req, invalid
}

// Close waits until what is under way has its outcome, which its deadlines
// bound. Afterwards the other methods return [ErrClosed]. The client stays open,
// except that its connection is cut when the broker reads nothing from it, since
// nothing else ends a write then. A second call returns nil.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	signal(p.wake)
	p.calls.Wait()
	ended := make(chan struct{})
	go func() {
		p.ended.Wait()
		close(ended)
	}()
	late := time.NewTimer(2 * goodbye)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		p.log.Warn("close: the broker reads nothing, its connection is cut")
		p.end()
		if p.cut() {
			<-ended
		}
	}
	p.end()
	return nil
}

// cut cuts the connection that is written to, unless it was given.
func (p *Publisher) cut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == nil || p.line.link.sock == nil {
		return false
	}
	_ = p.line.link.sock.Close() // seen by whoever reads from it, or writes
	return true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
