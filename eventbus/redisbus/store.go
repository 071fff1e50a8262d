package redisbus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
)

// pageSize is how many letters a listing holds at a time. Larger saves round
// trips; the letters of a page are all in memory.
const pageSize = 100

// StoreConfig configures a [Store]. Client and Stream are required.
type StoreConfig struct {
	// Client stays yours.
	Client redis.UniversalClient

	// Stream is the key of the stream that holds the letters; for the bus
	// {prefix}:stream_dlq.
	Stream string

	// Form is how letters are written. The zero value is [FormWatermill]. A
	// letter that the text form cannot hold is written in the other: a letter is
	// never refused for what its original looks like.
	Form Form
}

// Validate reports every problem of the configuration at once, or nil.
func (c StoreConfig) Validate() error {
	var errs []error
	if c.Client == nil {
		errs = append(errs, errors.New("redisbus: StoreConfig.Client: must not be nil"))
	}
	if c.Stream == "" {
		errs = append(errs, errors.New("redisbus: StoreConfig.Stream: must not be empty"))
	}
	if c.Form != FormWatermill && c.Form != FormText {
		errs = append(errs, fmt.Errorf("redisbus: StoreConfig.Form: %v is unknown", c.Form))
	}
	return errors.Join(errs...)
}

// Store is a dead letter queue in a Redis stream; the id of a letter is that of
// its entry. It shows everything in the stream as a letter: its own, those of
// the Python library, and entries in no known form, with their fields as a JSON
// payload. It never trims. While the server cannot be reached its methods
// return an error that wraps dlq.ErrUnavailable.
//
// It may be used from many goroutines.
type Store struct{ cfg StoreConfig }

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
	return &Store{cfg: cfg}, nil
}

// Bury adds the letter and returns its id when the server has confirmed it.
func (s *Store) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	m := l.Message()
	delete(m.Metadata, dlq.KeyID) // the entry's id is its name
	if v, ok := m.Metadata[fieldUUID]; ok && v != m.UUID {
		delete(m.Metadata, fieldUUID) // somebody else's idea of it, which no form can hold
	}
	args := []any{"xadd", s.cfg.Stream, "*"}
	full, err := newEncoder(s.cfg.Form).append(args, m)
	if err != nil && s.cfg.Form == FormText {
		full, err = newEncoder(FormWatermill).append(args, m)
	}
	if err != nil {
		return "", fmt.Errorf("redisbus: bury %q: %w", l.MessageID, err)
	}
	cmd := redis.NewStringCmd(ctx, full...)
	if err := s.cfg.Client.Process(ctx, cmd); err != nil {
		return "", s.failed("bury", err)
	}
	return cmd.Val(), nil
}

// List yields the letters page by page, so that any number of them takes the
// memory of one page.
func (s *Store) List(ctx context.Context, q dlq.Query) iter.Seq2[dlq.Letter, error] {
	return func(yield func(dlq.Letter, error) bool) {
		first, last, err := s.bounds(ctx, q)
		if err != nil {
			yield(dlq.Letter{}, err)
			return
		}
		for n := 0; first != ""; {
			page, err := s.page(ctx, q.NewestFirst, first, last)
			if err != nil {
				yield(dlq.Letter{}, err)
				return
			}
			for _, entry := range page {
				l := s.letter(entry)
				if !q.Filter.Match(&l) {
					continue
				}
				if !yield(l, nil) {
					return
				}
				if n++; q.Limit > 0 && n == q.Limit {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			first = "(" + page[len(page)-1].ID
		}
	}
}

// bounds returns where a listing begins and ends. Its end is fixed at the
// beginning, so that it ends however many letters come in. An empty first
// means that there is nothing.
func (s *Store) bounds(ctx context.Context, q dlq.Query) (first, last string, err error) {
	if q.After != "" && !isID(q.After) {
		return "", "", fmt.Errorf("redisbus: list letters after %q: %w", q.After, dlq.ErrNotFound)
	}
	if q.NewestFirst {
		if q.After != "" {
			return "(" + q.After, "-", nil
		}
		return "+", "-", nil // what comes in later is behind the first page
	}
	newest, err := s.cfg.Client.XRevRangeN(ctx, s.cfg.Stream, "+", "-", 1).Result()
	if err != nil {
		return "", "", s.failed("list letters", err)
	}
	if len(newest) == 0 {
		return "", "", nil
	}
	if q.After != "" {
		if compareIDs(q.After, newest[0].ID) >= 0 {
			return "", "", nil
		}
		return "(" + q.After, newest[0].ID, nil
	}
	return "-", newest[0].ID, nil
}

func (s *Store) page(ctx context.Context, newestFirst bool, first, last string) ([]redis.XMessage, error) {
	var cmd *redis.XMessageSliceCmd
	if newestFirst {
		cmd = s.cfg.Client.XRevRangeN(ctx, s.cfg.Stream, first, last, pageSize)
	} else {
		cmd = s.cfg.Client.XRangeN(ctx, s.cfg.Stream, first, last, pageSize)
	}
	page, err := cmd.Result()
	if err != nil {
		return nil, s.failed("list letters", err)
	}
	return page, nil
}

// letter reads an entry; whatever it holds, it is shown.
func (s *Store) letter(entry redis.XMessage) dlq.Letter {
	m, err := decode(entry.ID, fieldsOf(entry.Values))
	l, _ := dlq.FromMessage(m) // says which facts are unreadable; the rest is shown
	if err != nil && l.Reason == "" {
		l.Reason, l.ErrorMessage = dlq.ReasonUndecodable, err.Error()
	}
	l.ID = entry.ID
	return l
}

// Count returns the length of the stream.
func (s *Store) Count(ctx context.Context) (int64, error) {
	n, err := s.cfg.Client.XLen(ctx, s.cfg.Stream).Result()
	if err != nil {
		return 0, s.failed("count letters", err)
	}
	return n, nil
}

// Get returns one letter, or an error that wraps dlq.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (dlq.Letter, error) {
	if isID(id) {
		found, err := s.cfg.Client.XRangeN(ctx, s.cfg.Stream, id, id, 1).Result()
		if err != nil {
			return dlq.Letter{}, s.failed("get letter", err)
		}
		if len(found) == 1 {
			return s.letter(found[0]), nil
		}
	}
	return dlq.Letter{}, fmt.Errorf("redisbus: get letter %q: %w", id, dlq.ErrNotFound)
}

// Delete removes letters and returns how many of them there were.
func (s *Store) Delete(ctx context.Context, ids ...string) (int, error) {
	known := make([]string, 0, len(ids))
	for _, id := range ids {
		if isID(id) {
			known = append(known, id)
		}
	}
	if len(known) == 0 {
		return 0, nil
	}
	n, err := s.cfg.Client.XDel(ctx, s.cfg.Stream, known...).Result()
	if err != nil {
		return int(n), s.failed("delete letters", err)
	}
	return int(n), nil
}

// Remove removes one letter.
func (s *Store) Remove(ctx context.Context, id string) error {
	_, err := s.Delete(ctx, id)
	return err
}

// Purge removes all letters at once and returns how many there were.
func (s *Store) Purge(ctx context.Context) (int, error) {
	n, err := s.cfg.Client.XTrimMaxLen(ctx, s.cfg.Stream, 0).Result()
	if err != nil {
		return 0, s.failed("purge letters", err)
	}
	return int(n), nil
}

// failed types an error: what the server refuses it refuses again, everything
// else is that it cannot be asked now.
func (s *Store) failed(act string, err error) error {
	if serverError(err) != "" {
		return fmt.Errorf("redisbus: %s in %q: %w", act, s.cfg.Stream, refused(err))
	}
	return fmt.Errorf("redisbus: %s in %q: %w: %w", act, s.cfg.Stream, dlq.ErrUnavailable, err)
}

// isID reports whether Redis can take s for the id of an entry.
func isID(s string) bool {
	ms, seq, _ := strings.Cut(s, "-")
	if _, err := strconv.ParseUint(ms, 10, 64); err != nil {
		return false
	}
	if seq == "" {
		return !strings.HasSuffix(s, "-")
	}
	_, err := strconv.ParseUint(seq, 10, 64)
	return err == nil
}
