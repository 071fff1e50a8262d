package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/dlq"
)

// Headers of the records that a [Store] writes beside its letters. They have a
// key that brings them into the partition of the letters that they speak of, and
// no value.
const (
	headerRemovedIn     = "dlq_removed_in"     // the partition of the letters; in another one the record means nothing
	headerRemoved       = "dlq_removed"        // offsets of letters that are gone, separated by commas
	headerRemovedBefore = "dlq_removed_before" // all letters before that offset are gone
)

// StoreConfig configures a [Store]. Client and Topic are required.
type StoreConfig struct {
	// Client stays yours.
	Client *kgo.Client

	// Topic holds the letters; for the bus {topic_prefix}.stream.dlq. It must not
	// be compacted.
	Topic string

	// Topics says whether a missing topic is created, by the first burial.
	Topics TopicConfig
}

// Validate reports every problem of the configuration at once, or nil.
func (c StoreConfig) Validate() error {
	errs := checkClient("StoreConfig", c.Client)
	if c.Topic == "" {
		errs = append(errs, errors.New("kafkabus: StoreConfig.Topic: must not be empty"))
	}
	return errors.Join(append(errs, c.Topics.check("StoreConfig")...)...)
}

// Store is a dead letter queue in a Kafka topic; the id of a letter is
// "partition:offset". It shows every record as a letter: its own, those of the
// Python library, and foreign ones. While the brokers cannot be reached its
// methods return an error that wraps dlq.ErrUnavailable.
//
// Kafka cannot remove a record. What was deleted or replayed is remembered by
// records in the same partition that name it; they and the letters age by the
// topic's retention, letters first. Count, Get, Delete and a listing of the
// oldest first read the topic, or its part behind the letter, to find them.
//
// Letters of one partition have its order; over partitions they are in the
// order of their burial, as far as the clocks of those who buried agree.
//
// It may be used from many goroutines.
type Store struct {
	cfg   StoreConfig
	admin *kadm.Client

	mu    sync.Mutex
	known bool // the topic is there
}

var (
	_ dlq.Store   = (*Store)(nil)
	_ dlq.Remover = (*Store)(nil)
)

// NewStore returns a Store, or every problem of the configuration. It does not
// connect.
func NewStore(cfg StoreConfig) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Store{cfg: cfg, admin: kadm.NewClient(cfg.Client)}, nil
}

// Bury adds the letter and returns its id when the brokers have confirmed it.
func (s *Store) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	if err := s.ensure(ctx); err != nil {
		return "", s.failed("bury letter", err)
	}
	if l.BuriedAt.IsZero() {
		l.BuriedAt = time.Now()
	}
	l = l.Clone() // the client may still have it when ctx ends
	m := l.Message()
	delete(m.Metadata, dlq.KeyID)
	delete(m.Metadata, headerUUID) // somebody else's idea of it
	r := &kgo.Record{}
	e := encoder{key: keyOf}
	if err := e.encode(r, s.cfg.Topic, m, 1); err != nil {
		return "", s.failed("bury letter", err)
	}
	if err := s.produce(ctx, r); err != nil {
		return "", s.failed("bury letter", err)
	}
	return position(r.Partition, r.Offset), nil
}

func (s *Store) ensure(ctx context.Context) error {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if known {
		return nil
	}
	if _, err := ensureTopic(ctx, s.cfg.Client, s.cfg.Topic, s.cfg.Topics); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = true
	return nil
}

// produce waits for the confirmation, or for the end of ctx; then the record
// may still arrive.
func (s *Store) produce(ctx context.Context, r *kgo.Record) error {
	if err := ctx.Err(); err != nil {
		return cause(ctx, err)
	}
	done := make(chan error, 1)
	go func() { done <- s.cfg.Client.ProduceSync(context.WithoutCancel(ctx), r).FirstErr() }()
	select {
	case err := <-done:
		if missing(err) {
			s.forget(err)
		}
		return published(s.cfg.Topic, err)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
	}
}

// forget makes the next burial look whether the topic is there.
func (s *Store) forget(err error) {
	s.mu.Lock()
	known := s.known
	s.known = false
	s.mu.Unlock()
	if known && madeAnew(err) {
		s.cfg.Client.PurgeTopicsFromClient(s.cfg.Topic)
	}
}

// Count returns exactly how many letters are neither replayed nor deleted. It
// reads the whole topic.
func (s *Store) Count(ctx context.Context) (int64, error) {
	v, err := s.view(ctx)
	if err != nil {
		return 0, s.failed("count letters", err)
	}
	var n int64
	for _, part := range v.parts {
		present, err := s.present(ctx, v, part, part.start)
		if err != nil {
			return 0, s.failed("count letters", err)
		}
		n += int64(len(present))
	}
	return n, nil
}

// present returns the offsets of the letters of a partition from an offset on
// that are not removed, in order.
func (s *Store) present(ctx context.Context, v view, part span, from int64) ([]int64, error) {
	var letters []int64
	gone := newRemovals()
	err := s.scan(ctx, v, part, from, part.end, func(r *kgo.Record) bool {
		if !gone.read(r) {
			letters = append(letters, r.Offset)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(letters, gone.has), nil
}

// Get returns one letter, or an error that wraps dlq.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (dlq.Letter, error) {
	none := fmt.Errorf("kafkabus: get letter %q: %w", id, dlq.ErrNotFound)
	partition, offset, ok := parsePosition(id)
	if !ok {
		return dlq.Letter{}, none
	}
	v, err := s.view(ctx)
	if err != nil {
		return dlq.Letter{}, s.failed("get letter", err)
	}
	part, ok := v.part(partition)
	if !ok || offset < part.start || offset >= part.end {
		return dlq.Letter{}, none
	}
	var found *kgo.Record
	gone := newRemovals()
	err = s.scan(ctx, v, part, offset, part.end, func(r *kgo.Record) bool {
		isMark := gone.read(r)
		if r.Offset == offset && !isMark {
			found = r
		}
		return found != nil && !gone.has(offset)
	})
	if err != nil {
		return dlq.Letter{}, s.failed("get letter", err)
	}
	if found == nil || gone.has(offset) {
		return dlq.Letter{}, none
	}
	return letterOf(found), nil
}

// Delete removes letters and returns how many of them there were.
func (s *Store) Delete(ctx context.Context, ids ...string) (int, error) {
	wanted := make(map[int32]map[int64]bool)
	for _, id := range ids {
		if partition, offset, ok := parsePosition(id); ok {
			if wanted[partition] == nil {
				wanted[partition] = make(map[int64]bool)
			}
			wanted[partition][offset] = true
		}
	}
	if len(wanted) == 0 {
		return 0, nil
	}
	v, err := s.view(ctx)
	if err != nil {
		return 0, s.failed("delete letters", err)
	}
	n := 0
	for _, part := range v.parts {
		offsets := wanted[part.id]
		if len(offsets) == 0 {
			continue
		}
		first := part.end
		for o := range offsets {
			first = min(first, max(o, part.start))
		}
		present, err := s.present(ctx, v, part, first)
		if err != nil {
			return n, s.failed("delete letters", err)
		}
		present = slices.DeleteFunc(present, func(o int64) bool { return !offsets[o] })
		if err := s.remove(ctx, v, part.id, present); err != nil {
			return n, s.failed("delete letters", err)
		}
		n += len(present)
	}
	return n, nil
}

// Remove removes one letter, without looking whether it is there.
func (s *Store) Remove(ctx context.Context, id string) error {
	partition, offset, ok := parsePosition(id)
	if !ok {
		return fmt.Errorf("kafkabus: remove letter %q: %w", id, dlq.ErrNotFound)
	}
	v, err := s.view(ctx)
	if err != nil {
		return s.failed("remove letter", err)
	}
	if err := s.remove(ctx, v, partition, []int64{offset}); err != nil {
		return s.failed("remove letter", err)
	}
	return nil
}

// Purge removes all letters that are there and returns how many there were.
func (s *Store) Purge(ctx context.Context) (int, error) {
	v, err := s.view(ctx)
	if err != nil {
		return 0, s.failed("purge letters", err)
	}
	n := 0
	for _, part := range v.parts {
		present, err := s.present(ctx, v, part, part.start)
		if err != nil {
			return n, s.failed("purge letters", err)
		}
		if len(present) == 0 {
			continue
		}
		if err := s.mark(ctx, v, part.id, headerRemovedBefore, strconv.FormatInt(part.end, 10)); err != nil {
			return n, s.failed("purge letters", err)
		}
		n += len(present)
	}
	return n, nil
}

// failed types an error: what Kafka refuses it refuses again, everything else
// is that it cannot be asked now.
func (s *Store) failed(act string, err error) error {
	if _, ok := kerrOf(err); ok {
		return fmt.Errorf("kafkabus: %s in %q: %w", act, s.cfg.Topic, refused(err))
	}
	return fmt.Errorf("kafkabus: %s in %q: %w: %w", act, s.cfg.Topic, dlq.ErrUnavailable, err)
}

func parsePosition(id string) (partition int32, offset int64, ok bool) {
	p, o, found := strings.Cut(id, ":")
	n, err := strconv.ParseInt(p, 10, 32)
	if !found || err != nil || n < 0 {
		return 0, 0, false
	}
	offset, err = strconv.ParseInt(o, 10, 64)
	return int32(n), offset, err == nil && offset >= 0
}

// letterOf reads a record; whatever it holds, it is shown.
func letterOf(r *kgo.Record) dlq.Letter {
	m, malformed := decode(r)
	l, _ := dlq.FromMessage(m) // says which facts are unreadable; the rest is shown
	if malformed != nil && l.Reason == "" {
		l.Reason, l.ErrorMessage = dlq.ReasonUndecodable, malformed.Error()
	}
	if l.Key == "" {
		l.Key = string(r.Key)
	}
	if l.BuriedAt.IsZero() {
		l.BuriedAt = r.Timestamp.UTC()
	}
	l.ID = position(r.Partition, r.Offset)
	return l
}
