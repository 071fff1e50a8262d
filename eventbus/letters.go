package eventbus

import (
	"context"
	"fmt"
	"iter"

	"github.com/leat-go/leat/dlq"
)

// openLetters makes the dead letter verbs of the config.
func (b *Bus) openLetters() error {
	store := b.cfg.DeadLetters
	if store == nil && !b.cfg.DisableDLQ {
		topic, err := dlq.NewTopic(dlq.TopicConfig{Publisher: b.cfg.Publisher, Topic: b.cfg.DeadLetterTopic})
		if err != nil {
			return err
		}
		store = buryOnly{noLetters{errBuryOnly}, topic}
	}
	if store == nil {
		store = noLetters{errDisabled}
	}
	queue, err := dlq.New(dlq.Config{Store: store, Publisher: b.replayer(), MaxReplays: b.cfg.MaxReplays, Logger: b.log})
	if err != nil {
		return err
	}
	b.store, b.letters = store, queue
	return nil
}

// noLetters is a store that cannot be looked at, and says why.
type noLetters struct{ why error }

var (
	errDisabled = fmt.Errorf("%w: dead letters are disabled (Config.DisableDLQ)", dlq.ErrUnavailable)
	errBuryOnly = fmt.Errorf("%w: this bus can bury letters, not read them: set eventbus.Config.DeadLetters, to a dlq.NewTopic with Subscribe, say", dlq.ErrUnavailable)
)

func (n noLetters) Bury(context.Context, dlq.Letter) (string, error) { return "", n.why }
func (n noLetters) Count(context.Context) (int64, error)             { return 0, n.why }
func (n noLetters) Purge(context.Context) (int, error)               { return 0, n.why }
func (n noLetters) Get(context.Context, string) (dlq.Letter, error)  { return dlq.Letter{}, n.why }
func (n noLetters) Delete(context.Context, ...string) (int, error)   { return 0, n.why }
func (n noLetters) List(context.Context, dlq.Query) iter.Seq2[dlq.Letter, error] {
	return func(yield func(dlq.Letter, error) bool) { yield(dlq.Letter{}, n.why) }
}

// buryOnly buries through the bus's Publisher.
type buryOnly struct {
	noLetters
	topic *dlq.Topic
}

// Bury publishes the letter.
func (s buryOnly) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	return s.topic.Bury(ctx, l)
}
