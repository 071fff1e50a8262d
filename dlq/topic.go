package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
)

// Metadata keys of the messages that a [Topic] writes beside its letters. They
// have no payload.
const (
	keyRemoved = "dlq_removed" // a tombstone: ids of letters that are gone, separated by commas
	keyMarker  = "dlq_marker"  // the end of a read: a unique id
)

// DefaultReadTimeout is how long a read waits for the next message. A read that
// its Pub/Sub feeds gets one at once; one whose marker never comes by would
// otherwise wait for ever.
const DefaultReadTimeout = 10 * time.Second

// TopicConfig describes a [Topic].
type TopicConfig struct {
	// Publisher writes the topic. It is required and stays the caller's. Its
	// Publish must return nil only when the broker has the message, and must end
	// with the context of the message.
	Publisher message.Publisher

	// Topic is the name of the dead letter topic. It is required, and holds
	// nothing but dead letters.
	Topic string

	// Subscribe returns a Subscriber on which each subscription begins with the
	// oldest message of the topic, gets all of them and belongs to no consumer
	// group: watermill-redisstream without ConsumerGroup and with FanOutOldestId
	// "0", or a persistent gochannel. The context of the call ends when the read
	// is over, which also ends the subscription, so the same Subscriber can be
	// returned each time. It stays the caller's and is never closed here. Mind
	// that closing a stock one mostly closes its client too. Nil: the topic only
	// buries, everything else is an ErrUnavailable.
	Subscribe func(ctx context.Context) (message.Subscriber, error)

	// Settle is for a Pub/Sub that does not keep the order of a topic (gochannel
	// does not): a read goes on until nothing has come for so long, and puts the
	// letters in the order of their burial itself. 0: the topic is one ordered log.
	Settle time.Duration

	// ReadTimeout is how long a read waits for the next message before it fails.
	// 0 means DefaultReadTimeout.
	ReadTimeout time.Duration
}

// Validate reports every problem of the configuration at once.
func (c TopicConfig) Validate() error {
	var errs []error
	if c.Publisher == nil {
		errs = append(errs, errors.New("dlq: TopicConfig.Publisher: must not be nil"))
	}
	if c.Topic == "" {
		errs = append(errs, errors.New("dlq: TopicConfig.Topic: must not be empty"))
	}
	if c.Settle < 0 {
		errs = append(errs, fmt.Errorf("dlq: TopicConfig.Settle: must not be negative, is %v", c.Settle))
	}
	if c.ReadTimeout < 0 {
		errs = append(errs, fmt.Errorf("dlq: TopicConfig.ReadTimeout: must not be negative, is %v", c.ReadTimeout))
	}
	return errors.Join(errs...)
}

// Topic is a [Store] on a topic of any Watermill Pub/Sub. Letters are messages
// in their wire form. A removed letter stays in the topic until the broker
// forgets it: Delete and Purge append a tombstone that names it.
//
// A read appends a marker with a unique id and reads the topic from its
// beginning until that marker comes by. So it always ends, is complete, and
// consumes nothing; it costs one pass over the topic and the memory of the
// letters that it yields. That suits the some thousand letters that a person
// looks after. The backends' own stores know better ways for their broker.
//
// Two readers do not disturb each other. The order of letters is that of the
// topic, so it must have one: with Kafka, a single partition.
type Topic struct {
	config TopicConfig
}

var (
	_ Store   = (*Topic)(nil)
	_ Remover = (*Topic)(nil)
)

// NewTopic returns a store on a topic. It does no I/O.
func NewTopic(c TopicConfig) (*Topic, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = DefaultReadTimeout
	}
	return &Topic{config: c}, nil
}

// Bury publishes the letter under a new id. BuriedAt is set to now when it is
// zero.
func (t *Topic) Bury(ctx context.Context, l Letter) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("dlq: bury: make id: %w", err)
	}
	l = l.Clone() // a Pub/Sub in memory keeps what it is given
	l.ID = id.String()
	if l.BuriedAt.IsZero() {
		l.BuriedAt = time.Now()
	}
	if err := t.publish(ctx, l.Message()); err != nil {
		return "", fmt.Errorf("dlq: bury in %q: %w", t.config.Topic, err)
	}
	return l.ID, nil
}

// Remove implements [Remover]: it appends a tombstone and does not look whether
// there is such a letter.
func (t *Topic) Remove(ctx context.Context, id string) error {
	if err := t.tombstone(ctx, []string{id}); err != nil {
		return fmt.Errorf("dlq: remove from %q: %w", t.config.Topic, err)
	}
	return nil
}

// Delete implements [Store].
func (t *Topic) Delete(ctx context.Context, ids ...string) (int, error) {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	return t.removeAll(ctx, func(id string) bool { return wanted[id] })
}

// Purge implements [Store].
func (t *Topic) Purge(ctx context.Context) (int, error) {
	return t.removeAll(ctx, func(string) bool { return true })
}

// tombstoneIDs is how many ids one tombstone names: some kilobytes of metadata,
// which every broker takes.
const tombstoneIDs = 100

// removeAll looks first, because a tombstone for a letter that is not there
// could not be counted.
func (t *Topic) removeAll(ctx context.Context, choose func(id string) bool) (int, error) {
	log, err := t.read(ctx, nil)
	if err != nil {
		return 0, err
	}
	var ids []string
	for _, e := range log.entries {
		if !log.removed[e.id] && choose(e.id) {
			ids = append(ids, e.id)
		}
	}
	removed := 0
	for chunk := range slices.Chunk(ids, tombstoneIDs) {
		if err := t.tombstone(ctx, chunk); err != nil {
			return removed, fmt.Errorf("dlq: delete from %q: %w", t.config.Topic, err)
		}
		removed += len(chunk)
	}
	return removed, nil
}

func (t *Topic) tombstone(ctx context.Context, ids []string) error {
	return t.note(ctx, keyRemoved, strings.Join(ids, ","))
}

// note publishes a message that is no letter.
func (t *Topic) note(ctx context.Context, key, value string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	m := message.NewMessage(id.String(), nil)
	m.Metadata[key] = value
	return t.publish(ctx, m)
}

func (t *Topic) publish(ctx context.Context, m *message.Message) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.SetContext(ctx)
	return t.config.Publisher.Publish(t.config.Topic, m)
}
