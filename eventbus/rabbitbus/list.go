package rabbitbus

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/leat-go/leat/dlq"
)

// listBytes is about how much a listing has in memory at a time: ten thousand
// letters of the usual size.
const listBytes = 8 << 20

// List yields the letters that are there when it begins. It looks once, and again
// when they are more than it should have in memory.
func (s *Store) List(ctx context.Context, q dlq.Query) iter.Seq2[dlq.Letter, error] {
	return func(yield func(dlq.Letter, error) bool) {
		l := listing{s: s, q: q, letters: make(map[string]dlq.Letter)}
		if err := l.begin(ctx); err != nil {
			yield(dlq.Letter{}, err)
			return
		}
		for len(l.ids) > 0 {
			letter, ok := l.letters[l.ids[0]]
			if !ok && len(l.letters) == 0 {
				if err := l.more(ctx); err != nil {
					yield(dlq.Letter{}, err)
					return
				}
				continue
			}
			delete(l.letters, l.ids[0]) // the taker's alone from here on
			l.ids = l.ids[1:]
			if ok && !yield(letter, nil) {
				return
			}
		}
	}
}

// listing is the state of one List.
type listing struct {
	s *Store
	q dlq.Query

	ids     []string              // of what is still to be yielded, in that order
	letters map[string]dlq.Letter // the next of them
	chunk   int                   // how many may be in memory
}

// begin looks at all letters, and keeps the ids of those that are asked for, and
// the first of them.
func (l *listing) begin(ctx context.Context) error {
	var all []string
	matching := make(map[string]bool)
	var window []dlq.Letter // what is kept, oldest first
	bytes, total := 0, 0
	began := l.q.After == "" || l.q.NewestFirst
	err := l.s.look(ctx, "list letters", func(h *hold) error {
		for {
			letter, ok, err := h.next(ctx)
			if err != nil || !ok {
				return err
			}
			all = append(all, letter.ID)
			switch {
			case l.q.After != "" && letter.ID == l.q.After:
				began = !l.q.NewestFirst
			case l.q.Filter.Match(&letter):
				matching[letter.ID] = true
				total += size(&letter)
				if began {
					window, bytes = l.keep(window, bytes, letter)
				}
			}
		}
	})
	if err != nil {
		return err
	}
	if l.q.NewestFirst {
		slices.Reverse(all)
	}
	if l.ids, err = after(all, l.q); err != nil {
		return l.s.failed("list letters", err)
	}
	l.ids = slices.DeleteFunc(l.ids, func(id string) bool { return !matching[id] })
	if l.q.Limit > 0 && len(l.ids) > l.q.Limit {
		l.ids = l.ids[:l.q.Limit]
	}
	l.chunk = max(1, len(window))
	if total > 0 {
		l.chunk = max(l.chunk, l.s.bytes*len(matching)/total)
	}
	l.take(window)
	return nil
}

// keep adds a letter to what is in memory, as far as there is room: for the
// oldest, or in place of the oldest.
func (l *listing) keep(window []dlq.Letter, bytes int, letter dlq.Letter) ([]dlq.Letter, int) {
	if !l.q.NewestFirst {
		if bytes > l.s.bytes || l.q.Limit > 0 && len(window) == l.q.Limit {
			return window, bytes
		}
		return append(window, letter), bytes + size(&letter)
	}
	window, bytes = append(window, letter), bytes+size(&letter)
	for len(window) > 1 && (bytes > l.s.bytes || l.q.Limit > 0 && len(window) > l.q.Limit) {
		bytes -= size(&window[0])
		window[0] = dlq.Letter{}
		window = window[1:]
	}
	return window, bytes
}

// size is about what a letter takes in memory.
func size(letter *dlq.Letter) int {
	n := 512 + len(letter.Payload)
	for k, v := range letter.Metadata {
		n += len(k) + len(v) + 64
	}
	return n
}

// take puts letters where they are yielded from, those that are next.
func (l *listing) take(window []dlq.Letter) {
	next := make(map[string]bool, l.chunk)
	for _, id := range l.ids[:min(l.chunk, len(l.ids))] {
		next[id] = true
	}
	for _, letter := range window {
		if next[letter.ID] {
			l.letters[letter.ID] = letter
		}
	}
}

// more looks for the next letters; those that are gone are dropped.
func (l *listing) more(ctx context.Context) error {
	next := l.ids[:min(l.chunk, len(l.ids))]
	wanted := make(map[string]bool, len(next))
	for _, id := range next {
		wanted[id] = true
	}
	err := l.s.look(ctx, "list letters", func(h *hold) error {
		for len(wanted) > 0 {
			letter, ok, err := h.next(ctx)
			if err != nil || !ok {
				return err
			}
			if wanted[letter.ID] {
				delete(wanted, letter.ID)
				l.letters[letter.ID] = letter
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(l.letters) == 0 {
		l.ids = l.ids[len(next):]
	}
	return nil
}

// after drops the ids of earlier pages. The last of them may be gone by now: our
// ids are made in the order of burial.
func after(ids []string, q dlq.Query) ([]string, error) {
	if q.After == "" {
		return ids, nil
	}
	if i := slices.Index(ids, q.After); i >= 0 {
		return ids[i+1:], nil
	}
	if !ordered(q.After) {
		return nil, fmt.Errorf("after %q: %w", q.After, dlq.ErrNotFound)
	}
	i := slices.IndexFunc(ids, func(id string) bool { return ordered(id) && (id > q.After) != q.NewestFirst })
	if i < 0 {
		return nil, nil
	}
	return ids[i:], nil
}
