package router

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/lanes"
)

// subscription is one Subscribe call of a decorated subscriber. One goroutine
// owns it (run: intake, then drain), Concurrency others hand out messages and
// wait for their acks.
type subscription struct {
	cfg   DrainConfig
	log   *slog.Logger
	topic string

	in       <-chan *message.Message // nil when the inner subscriber closed it
	cancelIn context.CancelFunc
	out      chan *message.Message

	lanes   *lanes.Lanes[*message.Message]
	slots   chan struct{} // one for each message that is taken from in and not settled
	settles settling

	live context.Context //nolint:containedctx // the parent of all message contexts, ended by the drain alone
	kill context.CancelCauseFunc

	stopOnce sync.Once
	stopping chan struct{} // closed: hand out no more
	began    time.Time     // of the drain; written before stopping is closed

	deadline chan struct{}
	lateOnce sync.Once

	abandon chan struct{} // closed: wait for no handler any more
	workers sync.WaitGroup
	idle    chan struct{} // closed when all workers have ended

	mu       sync.Mutex
	held     []*message.Message // left unsettled: handed back
	bounds   []func()           // each frees what watches for a deadline
	ended    bool
	finished atomic.Int64 // acks since the drain began

	report Report // written before done is closed
	err    error
	done   chan struct{}
}

func newSubscription(cfg DrainConfig, topic string, in <-chan *message.Message, cancelIn context.CancelFunc) *subscription {
	s := &subscription{
		cfg:      cfg,
		log:      cfg.Logger.With("topic", topic),
		topic:    topic,
		in:       in,
		cancelIn: cancelIn,
		out:      make(chan *message.Message),
		lanes:    lanes.New[*message.Message](cfg.Concurrency),
		slots:    make(chan struct{}, cfg.MaxInFlight),
		stopping: make(chan struct{}),
		deadline: make(chan struct{}),
		abandon:  make(chan struct{}),
		idle:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	// Without the values of the subscribe context: those of the message's own,
	// which is made from it, must win.
	s.live, s.kill = context.WithCancelCause(context.Background())
	return s
}

// start begins the work; ended is called when it is over, before done.
func (s *subscription) start(ended func()) {
	for range s.cfg.Concurrency {
		s.workers.Go(s.work)
	}
	go func() {
		s.workers.Wait()
		close(s.idle)
	}()
	go func() {
		defer close(s.done)
		defer ended()
		s.run()
	}()
}

// run takes messages until the subscription is stopped or ends by itself, and
// leaves nothing behind but what the inner subscriber keeps.
func (s *subscription) run() {
	s.log.Debug("subscription started")
	if s.intake() {
		s.log.Warn("subscription ended by itself: its subscriber closed the channel")
		s.handleRest()
	}
	s.drain()
	s.kill(context.Canceled)
	close(s.out)
	s.log.Debug("subscription ended", "finished", s.report.Finished, "handed_back", s.report.HandedBack)
}

// intake reports whether the inner subscriber closed its channel.
func (s *subscription) intake() bool {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-s.stopping:
			return false
		}
		select {
		case m, ok := <-s.in:
			if !ok {
				<-s.slots
				s.in = nil
				return true
			}
			s.settles.received()
			s.lanes.Add(s.key(m), m)
		case <-s.stopping:
			<-s.slots
			return false
		}
	}
}

// key survives what the user's function does with a message it did not expect:
// it would end the process, again and again.
func (s *subscription) key(m *message.Message) (key string) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("key function panicked, the aggregate id counts", "event_id", m.UUID, "error", fmt.Sprint(p))
			key = aggregateID(m)
		}
	}()
	return s.cfg.Key(m)
}

// handleRest waits until everything at hand is settled, or the subscription is
// stopped. All slots taken means nothing is in flight.
func (s *subscription) handleRest() {
	for range cap(s.slots) {
		select {
		case s.slots <- struct{}{}:
		case <-s.stopping:
			return
		}
	}
}

func (s *subscription) work() {
	for {
		key, inner, ok := s.lanes.Take()
		if !ok {
			return
		}
		s.handle(inner)
		s.lanes.Done(key)
		<-s.slots
	}
}

// handle hands out a copy of one message and settles the message as the copy is.
func (s *subscription) handle(inner *message.Message) {
	if s.isStopping() {
		s.hold(inner)
		return
	}
	ctx, settled := context.WithCancel(s.live)
	defer settled()
	msg := message.NewMessage(inner.UUID, inner.Payload)
	msg.Metadata = maps.Clone(inner.Metadata)
	msg.SetContext(&messageContext{Context: ctx, values: inner.Context()})

	select {
	case s.out <- msg:
	case <-s.stopping:
		s.hold(inner)
		return
	}
	select {
	case <-msg.Acked():
		inner.Ack()
		s.settles.acked(inner.Context())
		if s.isStopping() {
			s.finished.Add(1)
		}
	case <-msg.Nacked():
		// A nack during the drain would have an adapter deliver it again at
		// once, in memory, to nobody. Unsettled, the broker does it later.
		if s.isStopping() {
			s.hold(inner)
			return
		}
		inner.Nack()
	case <-s.abandon:
		s.hold(inner)
	}
}

func (s *subscription) hold(m *message.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, m)
}

func (s *subscription) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// result may be called after done is closed.
func (s *subscription) result() (Report, error) { return s.report, s.err }

// messageContext is what handlers see: it ends with the drain's deadline or
// when the message is settled, and carries the inner message's values.
type messageContext struct {
	context.Context                 //nolint:containedctx // it is a context
	values          context.Context //nolint:containedctx // only its values are used, not its end
}

// Value asks the embedded context first: the standard library finds the
// nearest cancellation that way, and children need no goroutine of their own.
func (c *messageContext) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}
