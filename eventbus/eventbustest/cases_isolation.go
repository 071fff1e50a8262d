package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

var errPlanned = errors.New("the case wants this handler to fail")

func isolationCases() []Case {
	return []Case{
		{
			Name: "FailuresStayApart", Laws: []int{3, 4}, run: failuresStayApart,
			Why: "a handler that fails or panics, at any position, leaves the others of the event untouched, and only it runs again",
		},
		{
			Name: "SlowHandlerHoldsUpNoOther", Laws: []int{3}, run: slowHandlerHoldsUpNoOther,
			Why: "a slow handler does not hold up the other handlers of the same event",
		},
		{
			Name: "MiddlewareReachesHandlers", run: middlewareReachesHandlers,
			Why: "what a message middleware puts into the context is there in every handler, and handler middleware runs once for each attempt",
		},
		{
			Name: "FailureIsNoRedelivery", Laws: []int{6}, run: failureIsNoRedelivery,
			Why: "an error of a handler never becomes a nack: its event passes the message chain once, however often the handler runs",
		},
	}
}

// behaviour of a handler at one event.
const (
	succeeds = iota
	fails
	panics
	failsOnce
	behaviours
)

// attemptsOf tells how often a handler runs under the policy quick, which
// retries twice.
var attemptsOf = [behaviours]int{succeeds: 1, fails: 3, panics: 3, failsOnce: 2}

// tally counts the runs of handlers, by event.
type tally struct {
	mu   sync.Mutex
	runs map[string]int
}

func (c *tally) add(handler string, e eventbus.Event) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs == nil {
		c.runs = map[string]int{}
	}
	c.runs[handler+"/"+e.EventBase().EventID]++
	return c.runs[handler+"/"+e.EventBase().EventID]
}

func (c *tally) of(handler string, e eventbus.Event) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[handler+"/"+e.EventBase().EventID]
}

func failuresStayApart(s *session) {
	const handlers = 5
	n := s.start(func(o *Options) { o.Concurrency = 4 })
	g := s.generator()
	var runs tally
	masks := map[string][handlers]int{}
	var events []eventbus.Event
	for i := range s.scaled(40) {
		e := place(fmt.Sprintf("k%d", i%7), i)
		var mask [handlers]int
		for h := range mask {
			mask[h] = g.IntN(behaviours)
		}
		masks[e.EventID] = mask
		events = append(events, e)
	}
	for h := range handlers {
		name := fmt.Sprintf("handler-%d", h)
		n.on(name, func(_ context.Context, e placed) error {
			run := runs.add(name, &e)
			switch masks[e.EventID][h] {
			case fails:
				return errPlanned
			case panics:
				panic(errPlanned)
			case failsOnce:
				if run == 1 {
					return errPlanned
				}
			}
			return nil
		})
	}
	n.publish(events...)
	n.consumed(int64(len(events)))
	failed := map[string][]string{}
	for _, e := range events {
		for h, b := range masks[e.EventBase().EventID] {
			name := fmt.Sprintf("handler-%d", h)
			if got := runs.of(name, e); got != attemptsOf[b] {
				s.Errorf("%s ran %d times at event %v, want %d", name, got, masks[e.EventBase().EventID], attemptsOf[b])
			}
			if b == fails || b == panics {
				failed[e.EventBase().EventID] = append(failed[e.EventBase().EventID], name)
			}
		}
	}
	if !s.has(Letters) {
		return
	}
	letters := n.letters(dlq.Query{})
	if len(letters) != len(failed) {
		s.Errorf("%d letters, want one for each of %d events", len(letters), len(failed))
	}
	for _, l := range letters {
		names := slices.Sorted(slices.Values(l.Handlers))
		if !slices.Equal(names, failed[l.MessageID]) {
			s.Errorf("the letter names %v, want those that failed: %v", names, failed[l.MessageID])
		}
	}
}

// consumed waits until so many deliveries are settled.
func (n *node) consumed(want int64) {
	n.s.Helper()
	n.s.until(fmt.Sprintf("%d events consumed", want), func() bool { return n.Bus.Stats().EventsConsumed >= want },
		func() any { return n.Bus.Stats() })
	if got := n.Bus.Stats().EventsConsumed; got != want {
		n.s.Errorf("%d events consumed, want %d", got, want)
	}
}

// letters lists.
func (n *node) letters(q dlq.Query) []dlq.Letter {
	n.s.Helper()
	var all []dlq.Letter
	for l, err := range n.Bus.DeadLetters().List(n.s.ctx(), q) {
		if err != nil {
			n.s.Fatalf("list letters: %v", err)
		}
		all = append(all, l)
	}
	return all
}

func slowHandlerHoldsUpNoOther(s *session) {
	n := s.start()
	g := s.gate()
	slow := n.recordWith("a-slow", func(ctx context.Context, _ eventbus.Event) error { return g.wait(ctx) })
	quick, late := n.record("b-quick"), n.record("z-quick")
	e := place("k", 1)
	done := n.publishing(e)
	slow.Want(s, e)
	quick.Want(s, e)
	late.Want(s, e)
	g.open()
	s.published(done)
}

type markKey struct{}

func middlewareReachesHandlers(s *session) {
	var attempts tally
	n := s.start(func(o *Options) {
		o.Middleware = append(o.Middleware, func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				msg.SetContext(context.WithValue(msg.Context(), markKey{}, "of "+msg.UUID))
				return next(msg)
			}
		})
		o.HandlerMiddleware = append(o.HandlerMiddleware, func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				attempts.add("attempt", &placed{Base: eventbus.Base{EventID: msg.UUID}})
				return next(msg)
			}
		})
	})
	marks := make(chan any, 10)
	for _, name := range []string{"one", "two"} {
		n.on(name, func(ctx context.Context, _ placed) error {
			marks <- ctx.Value(markKey{})
			if name == "two" {
				return errPlanned
			}
			return nil
		})
	}
	e := place("k", 1)
	n.publish(e)
	n.consumed(1)
	for range 4 { // one, and three times two
		if mark := wait(s, marks, "the handlers ran"); mark != "of "+e.EventID {
			s.Errorf("a handler's context has %v, want the middleware's value", mark)
		}
	}
	if got := attempts.of("attempt", e); got != 4 {
		s.Errorf("the handler middleware ran %d times, want once for each of 4 attempts", got)
	}
}

func failureIsNoRedelivery(s *session) {
	var runs tally
	passes := s.countPasses(&runs)
	n := s.start(passes)
	n.on("failing", func(_ context.Context, e placed) error {
		if runs.add("failing", &e); e.N == 3 {
			return nil
		}
		return errPlanned
	})
	n.on("panicking", func(_ context.Context, e placed) error {
		if runs.add("panicking", &e); e.N == 3 {
			return nil
		}
		panic("planned")
	})
	e, next, last := place("k", 1), place("k", 2), place("k", 3)
	n.publish(e, next)
	n.consumed(2)
	n.publish(last) // whatever comes again has come before it
	n.consumed(3)
	n.stop()
	for _, e := range []eventbus.Event{e, next} {
		if got := runs.of("chain", e); got != 1 {
			s.Errorf("the event passed the message chain %d times, want once: a failure was made a redelivery", got)
		}
		if a, b := runs.of("failing", e), runs.of("panicking", e); a != 3 || b != 3 {
			s.Errorf("the handlers ran %d and %d times, want 3 each", a, b)
		}
	}
}
