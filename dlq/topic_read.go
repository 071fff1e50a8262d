package dlq

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
)

// topicLog is what one read of the topic found: all letters in order, those
// that are removed included, because a page may begin after one of them.
type topicLog struct {
	entries []topicEntry
	removed map[string]bool
}

type topicEntry struct {
	id     string
	buried time.Time
	letter *Letter // nil: nobody asked to keep it
}

// List implements [Store]. The topic is read once, before the first letter is
// yielded.
func (t *Topic) List(ctx context.Context, q Query) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		log, err := t.read(ctx, q.Filter.Match)
		if err != nil {
			yield(Letter{}, err)
			return
		}
		if q.NewestFirst {
			slices.Reverse(log.entries)
		}
		if q.After != "" {
			i := slices.IndexFunc(log.entries, func(e topicEntry) bool { return e.id == q.After })
			if i < 0 {
				yield(Letter{}, fmt.Errorf("dlq: list %q after %q: %w", t.config.Topic, q.After, ErrNotFound))
				return
			}
			log.entries = log.entries[i+1:]
		}
		left := q.Limit
		for _, e := range log.entries {
			if e.letter == nil || log.removed[e.id] {
				continue
			}
			if !yield(*e.letter, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// Count implements [Store].
func (t *Topic) Count(ctx context.Context) (int64, error) {
	log, err := t.read(ctx, nil)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, e := range log.entries {
		if !log.removed[e.id] {
			n++
		}
	}
	return n, nil
}

// Get implements [Store].
func (t *Topic) Get(ctx context.Context, id string) (Letter, error) {
	log, err := t.read(ctx, func(l *Letter) bool { return l.ID == id })
	if err != nil {
		return Letter{}, err
	}
	for _, e := range log.entries {
		if e.letter != nil && !log.removed[id] {
			return *e.letter, nil
		}
	}
	return Letter{}, fmt.Errorf("dlq: get %q from %q: %w", id, t.config.Topic, ErrNotFound)
}

var (
	errReadEnded   = errors.New("the subscription ended before the topic's end was reached")
	errReadTimeout = errors.New("no message came; does the subscription begin with the oldest message?")
	errBuryOnly    = errors.New("no Subscribe in the configuration, only burial is possible")
)

// read goes once over the topic. The marker is published before the
// subscription begins: a subscription that by mistake sees only what is new
// then never finds it and fails, instead of claiming that there is nothing.
func (t *Topic) read(ctx context.Context, keep func(*Letter) bool) (topicLog, error) {
	fail := func(err error) (topicLog, error) {
		return topicLog{}, fmt.Errorf("dlq: read %q: %w: %w", t.config.Topic, ErrUnavailable, err)
	}
	if t.config.Subscribe == nil {
		return fail(errBuryOnly)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	id, err := uuid.NewV7()
	if err != nil {
		return fail(err)
	}
	marker := id.String()
	if err := t.note(ctx, keyMarker, marker); err != nil {
		return fail(err)
	}
	sub, err := t.config.Subscribe(ctx)
	if err != nil {
		return fail(err)
	}
	messages, err := sub.Subscribe(ctx, t.config.Topic)
	if err != nil {
		return fail(err)
	}
	defer t.end(cancel, messages)
	log := topicLog{removed: make(map[string]bool)}
	if err := t.collect(ctx, messages, marker, keep, &log); err != nil {
		return fail(err)
	}
	log.finish(t.config.Settle > 0)
	return log, nil
}

// end ends the subscription and takes what the subscriber is about to hand
// over, so that it can close its channel; one that does not is left alone.
func (t *Topic) end(cancel context.CancelFunc, messages <-chan *message.Message) {
	cancel()
	limit := time.NewTimer(t.config.ReadTimeout)
	defer limit.Stop()
	for {
		select {
		case m, ok := <-messages:
			if !ok {
				return
			}
			m.Ack()
		case <-limit.C:
			return
		}
	}
}

func (t *Topic) collect(ctx context.Context, messages <-chan *message.Message, marker string, keep func(*Letter) bool, log *topicLog) error {
	wait := time.NewTimer(t.config.ReadTimeout)
	defer wait.Stop()
	marked := false
	for {
		select {
		case m, ok := <-messages:
			if !ok {
				return errReadEnded
			}
			marked = log.add(m, keep, marker) || marked
			m.Ack()
			switch {
			case !marked:
				wait.Reset(t.config.ReadTimeout)
			case t.config.Settle > 0:
				wait.Reset(t.config.Settle)
			default:
				return nil
			}
		case <-wait.C:
			if marked {
				return nil
			}
			return errReadTimeout
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// add takes in one message and reports whether it is the marker.
func (log *topicLog) add(m *message.Message, keep func(*Letter) bool, marker string) bool {
	if v, ok := m.Metadata[keyMarker]; ok {
		return v == marker
	}
	if v, ok := m.Metadata[keyRemoved]; ok {
		for id := range strings.SplitSeq(v, ",") {
			log.removed[id] = true
		}
		return false
	}
	l, _ := FromMessage(m) // what cannot be read of it is empty; it is listed all the same
	if l.ID == "" {
		l.ID = contentID(m)
	}
	e := topicEntry{id: l.ID, buried: l.BuriedAt}
	if keep != nil && keep(&l) {
		c := l.Clone()
		e.letter = &c
	}
	log.entries = append(log.entries, e)
	return false
}

// finish drops the copies that a publisher's own retries left, and puts into
// order what came without.
func (log *topicLog) finish(unordered bool) {
	if unordered {
		slices.SortStableFunc(log.entries, func(a, b topicEntry) int {
			if c := a.buried.Compare(b.buried); c != 0 {
				return c
			}
			return strings.Compare(a.id, b.id)
		})
	}
	seen := make(map[string]bool, len(log.entries))
	log.entries = slices.DeleteFunc(log.entries, func(e topicEntry) bool {
		double := seen[e.id]
		seen[e.id] = true
		return double
	})
}

// contentID names a letter that somebody else wrote, without an id: two with
// the same content are one letter.
func contentID(m *message.Message) string {
	h := sha256.New()
	part := func(s string) { _, _ = fmt.Fprintf(h, "%d:%s", len(s), s) }
	part(m.UUID)
	for _, k := range slices.Sorted(maps.Keys(m.Metadata)) {
		part(k)
		part(m.Metadata[k])
	}
	_, _ = h.Write(m.Payload)
	return "content-" + hex.EncodeToString(h.Sum(nil)[:16])
}
