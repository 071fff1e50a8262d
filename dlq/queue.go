package dlq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"
)

// DefaultMaxReplays is how often a letter may be replayed unforced. Whoever
// replays a fourth time has not mended the cause.
const DefaultMaxReplays = 3

// Unlimited is the value of [Config.MaxReplays] that switches the cap off.
const Unlimited = -1

// Config describes a [Queue].
type Config struct {
	// Store holds the letters. It is required and stays the caller's.
	Store Store

	// Publisher brings replayed messages back to where they came from. Its
	// Publish must return nil only when the broker has the message. It stays the
	// caller's. Without it everything but replay works.
	Publisher message.Publisher

	// Topic is where letters are replayed to that do not say where they came
	// from. Empty: such letters are refused, unless the call names a topic.
	Topic string

	// MaxReplays is how often a letter may be replayed before Force is needed.
	// 0 means DefaultMaxReplays; Unlimited switches the cap off.
	MaxReplays int

	// OnReplay is called after each replay that was published. It must not block.
	// A panic in it is logged.
	OnReplay func(ctx context.Context, l Letter)

	// Logger gets a line for each replay and purge. Nil discards.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	if c.Store == nil {
		errs = append(errs, errors.New("dlq: Config.Store: must not be nil"))
	}
	if c.MaxReplays < Unlimited {
		errs = append(errs, fmt.Errorf("dlq: Config.MaxReplays: must be at least -1 (Unlimited), is %d", c.MaxReplays))
	}
	return errors.Join(errs...)
}

// Queue is a dead letter queue with the verbs that people use. Its methods may
// be called from many goroutines, also from handlers that a replay runs. Two
// calls on one Queue never replay one letter twice; two processes that replay
// the same letter at the same moment can double its message.
type Queue struct {
	config Config
	claims claims
}

// New returns a queue over a store. It does no I/O.
func New(c Config) (*Queue, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.MaxReplays == 0 {
		c.MaxReplays = DefaultMaxReplays
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Queue{config: c}, nil
}

// List yields the letters that q chooses; see [Store].
func (q *Queue) List(ctx context.Context, query Query) iter.Seq2[Letter, error] {
	return q.config.Store.List(ctx, query)
}

// Count returns how many letters there are.
func (q *Queue) Count(ctx context.Context) (int64, error) { return q.config.Store.Count(ctx) }

// Get returns one letter; [ErrNotFound] when there is none of that id.
func (q *Queue) Get(ctx context.Context, id string) (Letter, error) {
	return q.config.Store.Get(ctx, id)
}

// Delete removes letters without replaying them, and returns how many of the
// ids there were.
func (q *Queue) Delete(ctx context.Context, ids ...string) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	return q.config.Store.Delete(ctx, ids...)
}

// Purge removes all letters and returns how many there were. They cannot be
// brought back.
func (q *Queue) Purge(ctx context.Context) (int, error) {
	n, err := q.config.Store.Purge(ctx)
	if n > 0 {
		q.config.Logger.WarnContext(ctx, "dead letters purged", "letters", n)
	}
	return n, err
}
