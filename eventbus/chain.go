package eventbus

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

// step is one named middleware of a chain.
type step struct {
	name string
	mw   message.HandlerMiddleware
}

// users names the user's middlewares.
func users(mws ...message.HandlerMiddleware) []step {
	steps := make([]step, len(mws))
	for i, name := range middleware.Describe(mws...) {
		steps[i] = step{name, mws[i]}
	}
	return steps
}

// link puts the steps around end, the first outermost.
func link(end message.HandlerFunc, steps []step) message.HandlerFunc {
	for i := len(steps) - 1; i >= 0; i-- {
		end = steps[i].mw(end)
	}
	return end
}

// openLetters makes the dead letter verbs of the config.
func (b *Bus) openLetters() error {
	store := b.cfg.DeadLetters
	if store == nil && !b.cfg.DisableDLQ {
		topic, err := dlq.NewTopic(dlq.TopicConfig{Publisher: b.cfg.Publisher, Topic: b.cfg.DeadLetterTopic})
		if err != nil {
			return err
		}
		store = topic
	}
	if store == nil {
		store = noLetters{}
	}
	queue, err := dlq.New(dlq.Config{Store: store, Publisher: b.replayer(), MaxReplays: b.cfg.MaxReplays})
	if err != nil {
		return err
	}
	b.store, b.letters = store, queue
	return nil
}

// buildChain makes the message chain: what every message passes on its way to
// the handlers. The dead letters stand outside everything that can fail.
func (b *Bus) buildChain() {
	b.chain = link(b.dispatch, b.messageSteps())
}

func (b *Bus) messageSteps() []step {
	steps := []step{
		{name: "Recover", mw: middleware.Recover{Logger: b.log}.Middleware},
		{name: "Trace", mw: b.tracer.Consume},
	}
	name := "DeadLetter"
	if b.cfg.DisableDLQ {
		name = "Drop"
	}
	steps = append(steps, step{name: name, mw: b.deadLetter().Middleware})
	if b.direct {
		steps = append(steps, step{name: "Spell", mw: b.spelled})
	}
	steps = append(steps, step{name: "Recover", mw: middleware.Recover{Logger: b.log}.Middleware})
	return append(steps, users(b.cfg.Middleware...)...)
}

// steps are those of one handler, outermost first.
func (s *subscription) steps() []step {
	b := s.bus
	retry := b.cfg.Retry
	if s.retry != nil {
		retry = *s.retry
	}
	steps := []step{
		{name: "Retry", mw: retry.Middleware},
		{name: "Stats", mw: s.attempt},
	}
	timeout := b.cfg.HandlerTimeout
	if s.timeout != 0 {
		timeout = s.timeout
	}
	if timeout > 0 {
		steps = append(steps, step{name: "Timeout", mw: middleware.Timeout{After: timeout, Logger: b.log}.Middleware})
	}
	steps = append(steps,
		step{name: "Trace", mw: b.tracer.Handle},
		step{name: "Recover", mw: middleware.Recover{Logger: b.log}.Middleware},
	)
	steps = append(steps, users(b.cfg.HandlerMiddleware...)...)
	return append(steps, users(s.user...)...)
}

// Chain describes the effective chain of the bus, outermost first: a line for
// what every message passes, then one for each handler.
//
//	message: Recover > Trace > DeadLetter > Recover > dispatch
//	send-invoice on OrderCreated: Retry > Stats > Trace > Recover > handler
func (b *Bus) Chain() string {
	var out strings.Builder
	line := func(head string, steps []step, end string) {
		out.WriteString(head + ": ")
		for _, s := range steps {
			out.WriteString(s.name + " > ")
		}
		out.WriteString(end + "\n")
	}
	line("message", b.messageSteps(), "dispatch")
	for _, s := range b.subscriptions() {
		on := s.typeName()
		if on == "" {
			on = "all events"
		}
		line(s.name+" on "+on, s.steps(), "handler")
	}
	return out.String()
}

// noLetters is the store of a bus with dead letters disabled.
type noLetters struct{}

var errDisabled = fmt.Errorf("%w: dead letters are disabled (Config.DisableDLQ)", dlq.ErrUnavailable)

func (noLetters) Bury(context.Context, dlq.Letter) (string, error) { return "", errDisabled }
func (noLetters) Count(context.Context) (int64, error)             { return 0, errDisabled }
func (noLetters) Purge(context.Context) (int, error)               { return 0, errDisabled }
func (noLetters) Get(context.Context, string) (dlq.Letter, error)  { return dlq.Letter{}, errDisabled }
func (noLetters) Delete(context.Context, ...string) (int, error)   { return 0, errDisabled }
func (noLetters) List(context.Context, dlq.Query) iter.Seq2[dlq.Letter, error] {
	return func(yield func(dlq.Letter, error) bool) { yield(dlq.Letter{}, errDisabled) }
}
