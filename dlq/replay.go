package dlq

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// ReplayOption changes one call of [Queue.Replay] or [Queue.ReplayAll].
type ReplayOption interface{ replay(*replayOptions) }

type replayOptions struct {
	force    bool
	topic    string
	everyone bool
}

type replayOption func(*replayOptions)

func (f replayOption) replay(o *replayOptions) { f(o) }

// Force replays a letter that has reached the cap.
func Force() ReplayOption { return replayOption(func(o *replayOptions) { o.force = true }) }

// ToTopic publishes to a topic other than the one that the letter came from.
func ToTopic(topic string) ReplayOption {
	return replayOption(func(o *replayOptions) { o.topic = topic })
}

// ForEveryone replays to all groups and handlers instead of those that failed.
func ForEveryone() ReplayOption { return replayOption(func(o *replayOptions) { o.everyone = true }) }

// Refusal is a letter that [Queue.ReplayAll] left where it is, and why.
type Refusal struct {
	ID  string // of the letter
	Err error  // a *ReplayLimitError, or a *ReplayError without a topic
}

// MaxRefusals is how many refusals a [Report] names one by one.
const MaxRefusals = 100

// Report tells what [Queue.ReplayAll] did.
type Report struct {
	Replayed int       // published and removed
	Refused  int       // left, because of the cap or because nobody knows where to
	Refusals []Refusal // the first MaxRefusals of them
}

// Replay publishes the original message of a letter again, to the topic that it
// came from, and then removes the letter. The message has its original UUID,
// payload and metadata, and a [Target] beside it, so that only the handlers run
// that failed, in the group in which they failed.
//
// It blocks until the publisher has confirmed and the letter is removed, and
// ends with ctx. Errors: [ErrNotFound], [ErrReplaying], a [*ReplayLimitError] at
// the cap, a [*ReplayError] that tells whether the message went out,
// [ErrUnavailable] without a publisher.
func (q *Queue) Replay(ctx context.Context, id string, opts ...ReplayOption) error {
	if q.config.Publisher == nil {
		return errNoPublisher()
	}
	if err := q.claims.take(id); err != nil {
		return fmt.Errorf("dlq: replay %q: %w", id, err)
	}
	replayed := false
	defer func() { q.claims.release(id, replayed) }()
	l, err := q.config.Store.Get(ctx, id)
	if err != nil {
		return err
	}
	err = q.replay(ctx, l, options(opts))
	replayed = err == nil
	return err
}

// ReplayAll replays the letters that query chooses, in its order, those that
// are there when it begins. Letters at the cap and letters without a topic are
// left and counted; those that another call is replaying are left to it. Any
// other failure ends the call, because it would meet the rest as well. The
// report is right in either case.
func (q *Queue) ReplayAll(ctx context.Context, query Query, opts ...ReplayOption) (Report, error) {
	var report Report
	if q.config.Publisher == nil {
		return report, errNoPublisher()
	}
	q.claims.beginSweep()
	defer q.claims.endSweep()
	o := options(opts)
	for l, err := range q.config.Store.List(ctx, query) {
		if err != nil {
			return report, err
		}
		if err = q.sweep(ctx, l, o, &report); err != nil {
			return report, err
		}
	}
	return report, nil
}

// sweep replays one letter of a listing.
func (q *Queue) sweep(ctx context.Context, l Letter, o replayOptions, report *Report) error {
	if q.claims.take(l.ID) != nil {
		return nil
	}
	replayed := false
	defer func() { q.claims.release(l.ID, replayed) }()
	err := q.replay(ctx, l, o)
	switch {
	case err == nil:
		replayed = true
		report.Replayed++
		return nil
	case refused(err):
		report.Refused++
		if len(report.Refusals) < MaxRefusals {
			report.Refusals = append(report.Refusals, Refusal{ID: l.ID, Err: err})
		}
		return nil
	}
	return err
}

func errNoPublisher() error {
	return fmt.Errorf("dlq: replay: no publisher: %w", ErrUnavailable)
}

var errNoTopic = errors.New("letter does not say where it came from: name a topic")

func refused(err error) bool {
	var limit *ReplayLimitError
	return errors.As(err, &limit) || errors.Is(err, errNoTopic)
}

// replay publishes, and then removes: in this order a crash doubles the message
// instead of losing it.
func (q *Queue) replay(ctx context.Context, l Letter, o replayOptions) error {
	if limit := q.config.MaxReplays; limit >= 0 && l.Replays >= limit && !o.force {
		return &ReplayLimitError{ID: l.ID, Replays: l.Replays, Max: limit}
	}
	topic := o.topic
	if topic == "" {
		topic = l.Source.Topic
	}
	if topic == "" {
		topic = q.config.Topic
	}
	if topic == "" {
		return &ReplayError{ID: l.ID, Err: errNoTopic}
	}
	if ctx.Err() != nil {
		return &ReplayError{ID: l.ID, Topic: topic, Err: context.Cause(ctx)}
	}
	if err := q.config.Publisher.Publish(topic, l.replayed(ctx, o.everyone)); err != nil {
		return &ReplayError{ID: l.ID, Topic: topic, Err: err}
	}
	q.published(ctx, l)
	// The message is out. A caller that goes away now must not leave the letter.
	if err := q.remove(context.WithoutCancel(ctx), l.ID); err != nil {
		return &ReplayError{ID: l.ID, Topic: topic, Published: true, Err: err}
	}
	q.config.Logger.InfoContext(ctx, "dead letter replayed", "topic", topic, "group", l.Group,
		"event_id", l.MessageID, "event_type", l.EventType(), "replays", l.Replays+1)
	return nil
}

// removeTimeout ends the removal of a letter whose message is already out and
// whose caller may be gone.
const removeTimeout = 30 * time.Second

// remove takes no offence at a letter that somebody else has just removed.
func (q *Queue) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	var err error
	if r, ok := q.config.Store.(Remover); ok {
		err = r.Remove(ctx, id)
	} else {
		_, err = q.config.Store.Delete(ctx, id)
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (q *Queue) published(ctx context.Context, l Letter) {
	if q.config.OnReplay == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			q.config.Logger.ErrorContext(ctx, "hook panicked", "hook", "OnReplay", "error", fmt.Sprint(p))
		}
	}()
	q.config.OnReplay(ctx, l)
}

// replayed is the message that goes back.
func (l *Letter) replayed(ctx context.Context, everyone bool) *message.Message {
	m := message.NewMessageWithContext(ctx, l.MessageID, l.Payload)
	for k, v := range original(l.Metadata) {
		m.Metadata[k] = v
	}
	m.Metadata[KeyReplayCount] = strconv.Itoa(l.Replays + 1)
	if l.Key != "" && l.Key != l.Metadata[wire.AggregateID] {
		m.Metadata[KeyKey] = l.Key
	}
	if everyone {
		return m
	}
	if l.Group != "" {
		m.Metadata[KeyGroup] = l.Group
	}
	if handlers := formatHandlers(l.Handlers); handlers != "" {
		m.Metadata[KeyHandlers] = handlers
	}
	return m
}

func options(opts []ReplayOption) replayOptions {
	var o replayOptions
	for _, opt := range opts {
		if opt != nil {
			opt.replay(&o)
		}
	}
	return o
}
