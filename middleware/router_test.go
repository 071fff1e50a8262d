package middleware_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

// stockRouter is Watermill's own router on Watermill's own gochannel, with a
// handler from "in" to "out".
type stockRouter struct {
	*message.Router
	broker *gochannel.GoChannel
	out    <-chan *message.Message
	ended  chan error
}

func newStockRouter(t *testing.T, h message.HandlerFunc, mws ...message.HandlerMiddleware) *stockRouter {
	t.Helper()
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: 20 * time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stockRouter{
		Router: r, broker: gochannel.NewGoChannel(gochannel.Config{Persistent: true}, nil), ended: make(chan error, 1),
	}
	if s.out, err = s.broker.Subscribe(t.Context(), "out"); err != nil {
		t.Fatal(err)
	}
	r.AddMiddleware(mws...)
	r.AddHandler("worker", "in", s.broker, "out", keptOpen{s.broker}, h)
	go func() { s.ended <- r.Run(context.WithoutCancel(t.Context())) }()
	<-r.Running()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
		if err := s.broker.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type keptOpen struct{ message.Publisher }

func (keptOpen) Close() error { return nil }

func (s *stockRouter) publish(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := s.broker.Publish("in", newMessage(t.Context(), id)); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stockRouter) next(t *testing.T) *message.Message {
	t.Helper()
	select {
	case m := <-s.out:
		m.Ack()
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came out of the router")
		return nil
	}
}

// flaky fails at the first run with what first does, then passes a message on.
func flaky(first message.HandlerFunc) message.HandlerFunc {
	var runs atomic.Int32
	return func(m *message.Message) ([]*message.Message, error) {
		if runs.Add(1) == 1 {
			return first(m)
		}
		return []*message.Message{message.NewMessage("result-of-"+m.UUID, nil)}, nil
	}
}

// Each middleware does its work on a stock router, without anything else of ours.
func TestStockRouter_EachMiddleware(t *testing.T) {
	t.Parallel()
	fast := middleware.Retry{BaseDelay: time.Millisecond}.Middleware
	run := func(name string, h message.HandlerFunc, mws []message.HandlerMiddleware, check func(t *testing.T, s *stockRouter)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStockRouter(t, h, mws...)
			s.publish(t, "1")
			check(t, s)
		})
	}
	passes := func(t *testing.T, s *stockRouter) {
		t.Helper()
		if m := s.next(t); m.UUID != "result-of-1" {
			t.Errorf("came out: %q", m.UUID)
		}
	}
	fails := func(*message.Message) ([]*message.Message, error) { return nil, errInk }

	run("Retry", flaky(fails), []message.HandlerMiddleware{fast}, passes)
	run("Recover", flaky(func(*message.Message) ([]*message.Message, error) { panic("boom") }),
		[]message.HandlerMiddleware{fast, middleware.Recover{}.Middleware}, passes)
	run("Timeout", flaky(func(m *message.Message) ([]*message.Message, error) {
		<-m.Context().Done()
		return nil, m.Context().Err()
	}), []message.HandlerMiddleware{fast, middleware.Timeout{After: 10 * time.Millisecond}.Middleware}, passes)

	letters := dlq.NewMemStore(dlq.MemConfig{})
	buried := make(chan dlq.Letter, 1)
	run("DeadLetter", fails, []message.HandlerMiddleware{middleware.DeadLetter{
		Burier: letters, Group: "billing", OnBuried: func(_ context.Context, l dlq.Letter) { buried <- l },
	}.Middleware}, func(t *testing.T, _ *stockRouter) {
		t.Helper()
		if l := <-buried; l.Source.Topic != "in" || len(l.Handlers) != 1 || l.Handlers[0] != "worker" || l.ErrorMessage != "no ink" {
			t.Errorf("letter %+v; want topic and handler as the router has them", l)
		}
	})

	var skipped atomic.Int32
	seen := middleware.NewMemSeen(middleware.MemSeenConfig{})
	run("Idempotency", flaky(fails), []message.HandlerMiddleware{middleware.Idempotency{
		Store: seen, OnSkipped: func(*message.Message) { skipped.Add(1) },
	}.Middleware, fast}, func(t *testing.T, s *stockRouter) {
		t.Helper()
		passes(t, s)
		s.publish(t, "1", "2")
		if m := s.next(t); m.UUID != "result-of-2" {
			t.Errorf("came out: %q, want only the message that is new", m.UUID)
		}
	})

	run("Correlation", func(m *message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage("result", nil)}, nil
	}, []message.HandlerMiddleware{middleware.Correlation}, func(t *testing.T, s *stockRouter) {
		t.Helper()
		if m := s.next(t); m.Metadata["correlation_id"] != "1" || m.Metadata["causation_id"] != "1" {
			t.Errorf("metadata %v", m.Metadata)
		}
	})

	var stats middleware.Stats
	run("Stats", flaky(fails), []message.HandlerMiddleware{fast, stats.Middleware, middleware.Logging{Logger: slog.New(slog.DiscardHandler)}.Middleware},
		func(t *testing.T, s *stockRouter) {
			t.Helper()
			passes(t, s)
			if got := stats.Snapshot(); got.Failed != 1 || got.Succeeded != 1 || got.Handled != 2 {
				t.Errorf("stats %+v", got)
			}
		})
}

// The stock router ends every message's context the moment it is closed. What
// is being handled then has not failed: no letter. Watermill's own PoisonQueue,
// in the same place, buries all of it; that is the trap.
func TestStockRouter_ShutdownBuriesNothingHealthy(t *testing.T) {
	t.Parallel()
	const messages = 10
	closeInFlight := func(t *testing.T, mws ...message.HandlerMiddleware) {
		t.Helper()
		var inFlight sync.WaitGroup
		inFlight.Add(messages)
		s := newStockRouter(t, func(m *message.Message) ([]*message.Message, error) {
			inFlight.Done()
			<-m.Context().Done()
			return nil, m.Context().Err()
		}, mws...)
		for i := range messages {
			s.publish(t, string(rune('a'+i)))
		}
		inFlight.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		letters := dlq.NewMemStore(dlq.MemConfig{})
		closeInFlight(t, middleware.DeadLetter{Burier: letters}.Middleware, middleware.Retry{BaseDelay: time.Hour}.Middleware)
		if n, _ := letters.Count(t.Context()); n != 0 {
			t.Errorf("%d healthy messages became letters", n)
		}
	})
	t.Run("ours without Retry", func(t *testing.T) {
		t.Parallel()
		letters := dlq.NewMemStore(dlq.MemConfig{})
		closeInFlight(t, middleware.DeadLetter{Burier: letters}.Middleware)
		if n, _ := letters.Count(t.Context()); n != 0 {
			t.Errorf("%d healthy messages became letters", n)
		}
	})
	t.Run("the trap", func(t *testing.T) {
		t.Parallel()
		poison := &recorder{}
		mw, err := stock.PoisonQueue(poison, "poison")
		if err != nil {
			t.Fatal(err)
		}
		closeInFlight(t, mw)
		if n := len(poison.contexts()); n != messages {
			t.Errorf("Watermill's PoisonQueue buried %d of %d healthy messages: the trap is mended, say so in the documentation", n, messages)
		}
	})
}

// recorder is a Publisher that refuses messages with a dead context, as those
// of brokers do.
type recorder struct {
	mu   sync.Mutex
	ctxs []error
	msgs []*message.Message
}

func (r *recorder) Publish(_ string, msgs ...*message.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range msgs {
		r.ctxs = append(r.ctxs, m.Context().Err())
		if err := m.Context().Err(); err != nil {
			return err
		}
		r.msgs = append(r.msgs, m)
	}
	return nil
}

func (*recorder) Close() error { return nil }

func (r *recorder) contexts() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ctxs
}

// A message that is given up while the router closes, or after its time ran
// out, is buried through any Watermill publisher, which gets a live context.
func TestStockRouter_BuriesAtShutdownAndAfterATimeout(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		inside message.HandlerMiddleware
		closes bool
		err    error
	}{
		"shutdown":             {middleware.Recover{}.Middleware, true, middleware.Permanent(errInk)},
		"time-out":             {middleware.Timeout{After: time.Millisecond}.Middleware, false, errInk},
		"Watermill's time-out": {stock.Timeout(time.Millisecond), false, errInk},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			letters, err := dlq.NewTopic(dlq.TopicConfig{Publisher: r, Topic: "dead"})
			if err != nil {
				t.Fatal(err)
			}
			buried := make(chan dlq.Letter, 1)
			inFlight := make(chan struct{})
			s := newStockRouter(t, func(m *message.Message) ([]*message.Message, error) {
				close(inFlight)
				<-m.Context().Done()
				return nil, tc.err
			}, middleware.DeadLetter{
				Burier: letters, OnBuried: func(_ context.Context, l dlq.Letter) { buried <- l },
			}.Middleware, tc.inside)
			s.publish(t, "1")
			<-inFlight
			if tc.closes {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			l := <-buried
			if l.MessageID != "1" || l.ErrorMessage == "" || len(r.contexts()) != 1 {
				t.Errorf("letter %+v, published with contexts %v", l, r.contexts())
			}
			if got := r.msgs[0].Metadata; got["dlq_handlers"] != "worker" || got["dlq_original_topic"] != "in" {
				t.Errorf("on the wire: %v", got)
			}
		})
	}
}

// A letter of a stock router goes back to the topic it came from and is
// handled, and only that.
func TestStockRouter_Replay(t *testing.T) {
	t.Parallel()
	letters := dlq.NewMemStore(dlq.MemConfig{})
	buried := make(chan dlq.Letter, 1)
	s := newStockRouter(t, flaky(func(*message.Message) ([]*message.Message, error) { return nil, errInk }), middleware.DeadLetter{
		Burier: letters, OnBuried: func(_ context.Context, l dlq.Letter) { buried <- l },
	}.Middleware)
	s.publish(t, "1")
	l := <-buried
	queue, err := dlq.New(dlq.Config{Store: letters, Publisher: s.broker})
	if err != nil {
		t.Fatal(err)
	}
	if err := queue.Replay(t.Context(), l.ID); err != nil {
		t.Fatal(err)
	}
	if m := s.next(t); m.UUID != "result-of-1" {
		t.Errorf("came out: %q", m.UUID)
	}
	if err := queue.Replay(t.Context(), l.ID); !errors.Is(err, dlq.ErrNotFound) {
		t.Errorf("the letter is still there: %v", err)
	}
}
