package kafkabus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/transport"
)

// PublisherConfig configures a [Publisher]. Only Client is required.
type PublisherConfig struct {
	// Client is used for publishing and stays yours: Close does not close it.
	// Acks, compression, batching and bounds are its own; see [ClientConfig].
	// Its hooks must not keep a record: its memory is used again.
	Client *kgo.Client

	// Key returns the key of a message's record, which decides its partition by
	// murmur2, as in Java and Python. Empty: any partition. nil means the
	// metadata aggregate_id.
	Key func(*message.Message) string

	// Topics says whether a missing topic is created.
	Topics TopicConfig

	// DeliveryTimeout bounds a Publish whose context has no earlier deadline. 0
	// means [DefaultDeliveryTimeout].
	DeliveryTimeout time.Duration
}

// Validate reports every problem of the configuration at once, or nil.
func (c PublisherConfig) Validate() error {
	var errs []error
	errs = append(errs, checkClient("PublisherConfig", c.Client)...)
	if c.DeliveryTimeout < 0 {
		errs = append(errs, errors.New("kafkabus: PublisherConfig.DeliveryTimeout: must not be negative"))
	}
	errs = append(errs, c.Topics.check("PublisherConfig")...)
	return errors.Join(errs...)
}

func checkClient(config string, client *kgo.Client) []error {
	if client == nil {
		return []error{fmt.Errorf("kafkabus: %s.Client: must not be nil", config)}
	}
	if problem := unusable(client); problem != "" {
		return []error{fmt.Errorf("kafkabus: %s.Client: %s", config, problem)}
	}
	return nil
}

// Publisher publishes Watermill messages to Kafka. All messages of one call
// are in flight together: one request a broker, not one a message.
//
// It may be used from many goroutines.
type Publisher struct {
	cfg    PublisherConfig
	gather *gather

	mu     sync.RWMutex
	closed bool
	known  map[string]struct{} // topics that are there
	ended  sync.WaitGroup
}

var _ eventbus.BatchPublisher = (*Publisher)(nil)

// NewPublisher returns a Publisher, or every problem of the configuration. It
// does not connect.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Key == nil {
		cfg.Key = keyOf
	}
	cfg.DeliveryTimeout = cmp.Or(cfg.DeliveryTimeout, DefaultDeliveryTimeout)
	limit, ok := cfg.Client.OptValue(kgo.MaxBufferedRecords).(int64)
	if !ok {
		limit = DefaultMaxBufferedRecords
	}
	return &Publisher{
		cfg: cfg, gather: newGather(cfg.Client, newRoom(int(limit)/2)), known: make(map[string]struct{}),
	}, nil
}

// Publish writes the messages to the topic and returns nil when the brokers
// have confirmed every one. Otherwise the error is a [*BatchError], or with one
// message that message's error; see [Publisher.PublishBatch]. It ends with the
// context of the first message.
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
	Topic  string // that was published to
	Errors []error
}

// Error counts the failures and quotes the first.
func (e *BatchError) Error() string {
	failed := e.Unwrap()
	return fmt.Sprintf("kafkabus: publish to %q: %d of %d messages are not confirmed, the first: %v",
		e.Topic, len(failed), len(e.Errors), failed[0])
}

// Unwrap returns the errors of the messages that are not confirmed.
func (e *BatchError) Unwrap() []error {
	return transport.Failed(e.Errors)
}

// PublishBatch writes the messages to the topic, those with one key in their
// order, and returns nil when the brokers have confirmed every one. Otherwise
// the result has an entry for each message: nil when it is confirmed; an error
// that wraps [ErrUnknown] when it may or may not be there, or come there yet,
// because the client goes on trying; any other error when it is not, a
// [*RefusedError] if Kafka has a name for the reason, MESSAGE_TOO_LARGE before
// anything is sent.
//
// It returns when ctx ends or DeliveryTimeout has passed, if not before. The
// messages must not be changed until then; when it ended early, not before
// DeliveryTimeout has passed either.
func (p *Publisher) PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error {
	if len(msgs) == 0 {
		return nil
	}
	if topic == "" {
		return transport.All(len(msgs), errors.New("kafkabus: publish: the topic must not be empty"))
	}
	if err := ctx.Err(); err != nil {
		return transport.All(len(msgs), notSent(topic, cause(ctx, err)))
	}
	if !p.enter() {
		return transport.All(len(msgs), fmt.Errorf("kafkabus: publish to %q: %w", topic, ErrClosed))
	}
	defer p.ended.Done()
	deadline := time.Now().Add(p.cfg.DeliveryTimeout)
	if err := p.ensure(ctx, deadline, topic); err != nil {
		return transport.All(len(msgs), notSent(topic, err))
	}
	b := p.gather.batch(len(msgs))
	b.Context, b.deadline, b.topic, b.encoder.key = ctx, deadline, topic, p.cfg.Key
	for i, m := range msgs {
		if err := b.encoder.encode(&b.records[i], topic, m, len(msgs)-i); err != nil {
			b.refuse(i, notSent(topic, err))
		}
	}
	errs := b.send(ctx, p.cfg.Client, p.gather, p.forget)
	if errs == nil {
		p.gather.recycle(b)
	}
	return errs
}

func notSent(topic string, err error) error {
	return fmt.Errorf("kafkabus: publish to %q: not sent: %w", topic, err)
}

// Close waits for the calls under way, which DeliveryTimeout bounds. Afterwards
// the other methods return [ErrClosed]. The client stays open. A second call
// returns nil.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ended.Wait()
	return nil
}

func (p *Publisher) enter() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return false
	}
	p.ended.Add(1)
	return true
}

// ensure sees to it that the topic is there, once.
func (p *Publisher) ensure(ctx context.Context, deadline time.Time, topic string) error {
	p.mu.RLock()
	_, known := p.known[topic]
	p.mu.RUnlock()
	if known {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if _, err := ensureTopic(ctx, p.cfg.Client, topic, p.cfg.Topics); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[topic] = struct{}{}
	return nil
}

// forget makes the next Publish look whether the topic is there.
func (p *Publisher) forget(topic string, err error) {
	p.mu.Lock()
	_, known := p.known[topic]
	delete(p.known, topic)
	p.mu.Unlock()
	if known && madeAnew(err) {
		p.cfg.Client.PurgeTopicsFromClient(topic)
	}
}
