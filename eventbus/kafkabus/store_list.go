package kafkabus

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/dlq"
)

// pageSize is how many records of a partition a listing of the newest first
// holds at a time.
const pageSize = 100

// List yields the letters that q chooses; see dlq.Store. Listing the oldest
// first begins with a pass over the topic that only collects what is removed.
// With After, what is before it is read again.
func (s *Store) List(ctx context.Context, q dlq.Query) iter.Seq2[dlq.Letter, error] {
	return func(yield func(dlq.Letter, error) bool) {
		if err := s.list(ctx, q, yield); err != nil {
			yield(dlq.Letter{}, err)
		}
	}
}

func (s *Store) list(ctx context.Context, q dlq.Query, yield func(dlq.Letter, error) bool) error {
	if _, _, ok := parsePosition(q.After); q.After != "" && !ok {
		return fmt.Errorf("kafkabus: list letters after %q: %w", q.After, dlq.ErrNotFound)
	}
	v, err := s.view(ctx)
	if err != nil {
		return s.failed("list letters", err)
	}
	cursors, err := s.cursors(ctx, v, q.NewestFirst)
	if err != nil {
		return s.failed("list letters", err)
	}
	passed, n := q.After == "", 0
	for {
		c, err := nearest(ctx, cursors, q.NewestFirst)
		if err != nil {
			return s.failed("list letters", err)
		}
		if c == nil {
			break
		}
		l := c.head
		gone := c.removed.has(c.offset)
		c.filled = false
		if !passed {
			passed = l.ID == q.After
			continue
		}
		if gone || !q.Filter.Match(&l) {
			continue
		}
		if !yield(l, nil) {
			return nil
		}
		if n++; q.Limit > 0 && n == q.Limit {
			return nil
		}
	}
	if !passed {
		return fmt.Errorf("kafkabus: list letters after %q: %w", q.After, dlq.ErrNotFound)
	}
	return nil
}

// cursor goes through the letters of one partition, in either direction.
type cursor struct {
	s       *Store
	v       view
	part    span
	newest  bool
	at      int64 // where the next page begins, or ends
	page    []*kgo.Record
	removed *removals

	filled bool
	head   dlq.Letter // valid when filled
	offset int64
	when   time.Time // of head, made monotonous: clocks may not be
}

func (s *Store) cursors(ctx context.Context, v view, newest bool) ([]*cursor, error) {
	var list []*cursor
	for _, part := range v.parts {
		c := &cursor{s: s, v: v, part: part, newest: newest, at: part.start, removed: newRemovals()}
		if newest {
			c.at = part.end // what is removed is said behind it
		} else {
			err := s.scan(ctx, v, part, part.start, part.end, func(r *kgo.Record) bool {
				c.removed.read(r)
				return true
			})
			if err != nil {
				return nil, err
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// nearest returns the cursor whose letter comes next; nil at the end.
func nearest(ctx context.Context, cursors []*cursor, newest bool) (*cursor, error) {
	var best *cursor
	for _, c := range cursors {
		more, err := c.fill(ctx)
		if err != nil {
			return nil, err
		}
		if !more {
			continue
		}
		switch {
		case best == nil,
			!newest && c.when.Before(best.when),
			newest && !c.when.Before(best.when): // of equals the last partition, as in a mirror
			best = c
		}
	}
	return best, nil
}

// fill sees to it that head is there, and reports whether it is.
func (c *cursor) fill(ctx context.Context) (bool, error) {
	for !c.filled {
		if len(c.page) == 0 {
			if more, err := c.turn(ctx); !more || err != nil {
				return false, err
			}
			continue
		}
		r := c.page[0]
		c.page = c.page[1:]
		if c.removed.read(r) {
			continue
		}
		c.head, c.offset, c.filled = letterOf(r), r.Offset, true
		when := c.head.BuriedAt
		if c.when.IsZero() || c.newest == when.Before(c.when) {
			c.when = when
		}
	}
	return true, nil
}

// turn reads the next page, and reports whether there is one.
func (c *cursor) turn(ctx context.Context) (bool, error) {
	from, to := c.at, min(c.at+pageSize, c.part.end)
	if c.newest {
		from, to = max(c.part.start, c.at-pageSize), c.at
	}
	if from >= to {
		return false, nil
	}
	err := c.s.scan(ctx, c.v, c.part, from, to, func(r *kgo.Record) bool {
		c.page = append(c.page, r)
		return true
	})
	c.at = to
	if c.newest {
		c.at = from
		slices.Reverse(c.page)
	}
	return true, err
}
