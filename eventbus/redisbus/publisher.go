package redisbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/transport"
)

// PublisherConfig configures a [Publisher]. Only Client is required.
type PublisherConfig struct {
	// Client is used for publishing and stays yours: Close does not close it.
	// Whatever its MaxRetries are, an XADD is never sent twice.
	Client redis.UniversalClient

	// Form is how messages are written. The zero value is [FormWatermill].
	Form Form

	// MaxLen and MaxAge trim the stream while publishing, approximately: by
	// entries (the newest MaxLen stay) or by the age of entries on the server's
	// clock. Redis trims without regard to consumer groups: entries that a slow
	// group has not read are lost (a [Subscriber] detects and reports it).
	// 0 means no trimming. At most one of the two can be set.
	MaxLen int64
	MaxAge time.Duration
}

// Validate reports every problem of the configuration at once, or nil.
func (c PublisherConfig) Validate() error {
	var errs []error
	if c.Client == nil {
		errs = append(errs, errors.New("redisbus: PublisherConfig.Client: must not be nil"))
	}
	if c.Form != FormWatermill && c.Form != FormText {
		errs = append(errs, fmt.Errorf("redisbus: PublisherConfig.Form: %v is unknown", c.Form))
	}
	errs = append(errs, checkTrimming("PublisherConfig", c.MaxLen, c.MaxAge)...)
	return errors.Join(errs...)
}

func checkTrimming(config string, maxLen int64, maxAge time.Duration) (errs []error) {
	if maxLen < 0 {
		errs = append(errs, fmt.Errorf("redisbus: %s.MaxLen: must not be negative", config))
	}
	if maxAge < 0 {
		errs = append(errs, fmt.Errorf("redisbus: %s.MaxAge: must not be negative", config))
	}
	if maxLen > 0 && maxAge > 0 {
		errs = append(errs, fmt.Errorf("redisbus: %s.MaxAge: cannot be set together with MaxLen", config))
	}
	return errs
}

// Publisher publishes Watermill messages to Redis Streams; the topic is the
// key of the stream. All messages of one call go out in one pipeline, and calls
// that come while others are under way share the next one. Calls that overlap
// have no order among each other.
//
// It may be used from many goroutines.
type Publisher struct {
	cfg      PublisherConfig
	requests sync.Pool

	mu      sync.Mutex
	queue   []*request
	running int // goroutines that send
	closed  bool
	ended   sync.WaitGroup
}

var _ eventbus.BatchPublisher = (*Publisher)(nil)

// NewPublisher returns a Publisher, or every problem of the configuration. It
// does not connect.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Publisher{cfg: cfg}
	p.requests.New = func() any { return newRequest(cfg.Form) }
	return p, nil
}

// Publish writes the messages to the stream topic, in their order, and returns
// nil when the server has confirmed every one. Otherwise the error is a
// [*BatchError], or with one message that message's error; see
// [Publisher.PublishBatch]. It ends with the context of the first message.
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
	Topic  string // the key of the stream
	Errors []error
}

// Error counts the failures and quotes the first.
func (e *BatchError) Error() string {
	failed := e.Unwrap()
	return fmt.Sprintf("redisbus: publish to %q: %d of %d messages are not confirmed, the first: %v",
		e.Topic, len(failed), len(e.Errors), failed[0])
}

// Unwrap returns the errors of the messages that are not confirmed.
func (e *BatchError) Unwrap() []error {
	return transport.Failed(e.Errors)
}

// PublishBatch writes the messages to the stream topic in one round trip, in
// their order, and returns nil when the server has confirmed every one.
// Otherwise the result has an entry for each message: nil when it is confirmed;
// an error that wraps [ErrUnknown] when it may or may not be in the stream; any
// other error when it is not, a [*RefusedError] if the server said so.
//
// It returns when ctx ends, if not before. The messages must not be changed
// until then; when ctx ended early, not before the client's time-outs have
// passed either.
func (p *Publisher) PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error {
	if len(msgs) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return transport.All(len(msgs), fmt.Errorf("redisbus: publish to %q: not sent: %w", topic, context.Cause(ctx)))
	}
	if topic == "" {
		return transport.All(len(msgs), errors.New("redisbus: publish: the topic must not be empty"))
	}
	req := p.requests.Get().(*request)
	invalid := p.prepare(req, topic, msgs)
	if len(req.cmds) > 0 {
		if err := p.submit(ctx, req); err != nil {
			// A pipeline may have the request, so it is not used again.
			return transport.Merge(invalid, transport.All(len(req.cmds), fmt.Errorf("redisbus: publish to %q: %w", topic, err)))
		}
	}
	var errs []error
	for i, cmd := range req.cmds {
		if cmd.(xadd).Val() != "" {
			// Its id came. When the connection breaks behind it, go-redis gives the
			// error to every command of the pipeline, this one included.
			continue
		}
		if err := published(topic, cmd.Err()); err != nil {
			if errs == nil {
				errs = make([]error, len(req.cmds))
			}
			errs[i] = err
		}
	}
	if req.reset() {
		p.requests.Put(req)
	}
	return transport.Merge(invalid, errs)
}

// Close waits for the pipelines under way, which the client's time-outs bound.
// Afterwards the other methods return [ErrClosed]. The client stays open. A
// second call returns nil.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ended.Wait()
	return nil
}

// xadd is a command that the client must not send again by itself: the first
// one may have arrived.
type xadd struct{ *redis.StringCmd }

// NoRetry is asked by the client.
func (xadd) NoRetry() bool { return true }

// prepare encodes the messages. Those that cannot be are refused alone.
func (p *Publisher) prepare(req *request, topic string, msgs []*message.Message) (invalid []error) {
	e := req.encoder
	e.begin(len(msgs))
	req.cmds = slices.Grow(req.cmds, len(msgs))
	minID := ""
	if p.cfg.MaxAge > 0 {
		minID = strconv.FormatInt(time.Now().Add(-p.cfg.MaxAge).UnixMilli(), 10)
	}
	// One slice for the arguments of all commands: allocating them one by one
	// costs a tenth of the whole.
	most := 12
	if p.cfg.Form == FormText {
		most += 2 * len(msgs[0].Metadata) // more only makes it grow
	}
	arena := slices.Grow(req.args, most*len(msgs))
	for i, m := range msgs {
		if cap(arena)-len(arena) < most {
			arena = make([]any, 0, most*(len(msgs)-i))
		}
		args := arena[len(arena):]
		args = append(args, "xadd", topic)
		switch {
		case minID != "":
			args = append(args, "minid", "~", minID)
		case p.cfg.MaxLen > 0:
			args = append(args, "maxlen", "~", p.cfg.MaxLen)
		}
		before := len(e.buffer)
		args, err := e.append(append(args, "*"), m)
		if err != nil {
			if invalid == nil {
				invalid = make([]error, len(msgs))
			}
			invalid[i] = fmt.Errorf("redisbus: publish to %q: not sent: %w", topic, err)
			continue
		}
		if len(args) <= cap(arena)-len(arena) { // else it grew out of the arena
			arena = arena[:len(arena)+len(args)]
			args = args[:len(args):len(args)]
		}
		req.cmds = append(req.cmds, xadd{redis.NewStringCmd(context.Background(), args...)})
		req.bytes += len(e.buffer) - before + len(m.Payload) + 192
	}
	req.args = arena
	return invalid
}
