package eventbus

import (
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

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

// buildChain makes the message chain: what every message passes on its way to
// the handlers. The dead letters stand outside everything that can fail.
func (b *Bus) buildChain() {
	b.chain = link(b.dispatch, b.messageSteps())
}

func (b *Bus) messageSteps() []step {
	steps := []step{
		{name: "Recover", mw: middleware.Recover{Logger: b.log}.Middleware},
		{name: "Trace", mw: b.traceMessage},
	}
	name := "DeadLetter"
	if b.cfg.DisableDLQ {
		name = "Drop"
	}
	steps = append(steps, step{name: name, mw: b.deadLetter().Middleware})
	steps = append(steps, step{name: "Recover", mw: b.guard})
	return append(steps, users(b.cfg.Middleware...)...)
}

// steps are those of one handler, outermost first.
func (s *subscription) steps() []step {
	b := s.bus
	retry := b.cfg.Retry
	if s.retry != nil {
		retry = *s.retry
	}
	if retry.Logger == nil {
		retry.Logger = b.log
	}
	retry.OnRetry = b.tellRetry(retry.OnRetry)
	steps := []step{
		{name: "Retry", mw: retry.Middleware},
		{name: "Stats", mw: s.attempt},
	}
	timeout := b.cfg.HandlerTimeout
	if s.timeout != 0 {
		timeout = s.timeout
	}
	if timeout > 0 {
		steps = append(steps, step{name: "Timeout", mw: middleware.Timeout{After: timeout, Logger: b.log, OnOverrun: b.overran}.Middleware})
	}
	steps = append(steps,
		step{name: "Trace", mw: b.traceHandler},
		step{name: "Recover", mw: middleware.Recover{Logger: b.log}.Middleware},
	)
	steps = append(steps, users(b.cfg.HandlerMiddleware...)...)
	return append(steps, users(s.user...)...)
}

// traceMessage and traceHandler are the tracer's steps, which an event in
// memory passes by when there is nobody to trace for: that was asked once, when
// it was published.
func (b *Bus) traceMessage(next message.HandlerFunc) message.HandlerFunc {
	traced := b.tracer.Consume(next)
	return func(msg *message.Message) ([]*message.Message, error) {
		if d, ok := msg.Context().(*delivery); ok && d.untraced {
			return next(msg)
		}
		return traced(msg)
	}
}

func (b *Bus) traceHandler(next message.HandlerFunc) message.HandlerFunc {
	traced := b.tracer.Handle(next)
	return func(msg *message.Message) ([]*message.Message, error) {
		if a, ok := msg.Context().(*attempts); ok && a.d.untraced {
			return next(msg)
		}
		return traced(msg)
	}
}

// overran counts a handler that does not heed its context.
func (b *Bus) overran(middleware.Overrun) { b.counts.overruns.Add(1) }

// tellRetry lets the tracer know of retries, and whom the user told to.
func (b *Bus) tellRetry(user func(*message.Message, middleware.RetryInfo)) func(*message.Message, middleware.RetryInfo) {
	if user == nil {
		return b.tracer.OnRetry
	}
	return func(msg *message.Message, info middleware.RetryInfo) {
		b.tracer.OnRetry(msg, info)
		user(msg, info)
	}
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
