package eventbus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/router"
)

// Bounds of what a collection of metrics may ask a broker.
const (
	// askPatience is how long a collection waits for an answer; all questions of a
	// bus are asked at once.
	askPatience = time.Second
	// askTimeout bounds the question itself, which goes on without the collection.
	askTimeout = 5 * time.Second
	// answerFresh is how long an answer serves other collections too, so that more
	// of them are no more load.
	answerFresh = time.Second
	// answerStale is how long an answer is told when there is no later one.
	answerStale = 30 * time.Second
)

// observe lets collections of metrics ask the bus, until Shutdown.
func (b *Bus) observe() {
	o := b.cfg.Observed
	o.Topic, o.Group = b.cfg.Topic, b.cfg.Group
	if o.DeadLetters == nil && !b.cfg.DisableDLQ {
		if store, ok := b.store.(*dlq.MemStore); ok { // others may have to read all letters
			o.DeadLetters = store.Count
		}
	}
	var qs questions
	qs.put("lag", &o.Lag, b)
	qs.put("dead letters", &o.DeadLetters, b)
	if o.LanesBusy == nil {
		o.LanesBusy = b.busy()
	}
	if b.cfg.Subscriber != nil {
		o.Consumers = b.consumers
	}
	stop, err := b.tracer.Observe(o)
	if err != nil {
		b.log.Warn("metrics of the bus's state are not there", append(b.place(), slog.Any("error", err))...)
	}
	b.unobserve = stop
}

// consumers is 1 while the bus consumes, and unknown until it was asked to: of
// one that only publishes nobody expects a consumer.
func (b *Bus) consumers() int64 {
	b.life.mu.Lock()
	running := b.life.running
	b.life.mu.Unlock()
	switch {
	case !running:
		return unknown
	case b.Health().Ready:
		return 1
	default:
		return 0
	}
}

// busy counts the lanes of a subscriber that the bus decorated itself.
func (b *Bus) busy() func() int64 {
	sub, ok := b.sub.(*router.Subscriber)
	if !ok {
		return nil
	}
	return func() int64 { return int64(sub.Busy()) }
}

// place is where the bus is, for logs.
func (b *Bus) place() []any {
	return []any{slog.String("topic", b.cfg.Topic), slog.String("group", b.cfg.Group)}
}

// unknown is a number that nobody told.
const unknown = -1

// questions are what the broker is asked at a collection, all at the same time.
type questions struct{ all []*question }

// put bounds the question *ask, if there is one.
func (qs *questions) put(what string, ask *func(context.Context) (int64, error), b *Bus) {
	if *ask == nil {
		return
	}
	q := &question{bus: b, what: what, ask: *ask, value: unknown}
	qs.all = append(qs.all, q)
	*ask = func(ctx context.Context) (int64, error) {
		for _, q := range qs.all {
			q.begin()
		}
		return q.answer(ctx), nil
	}
}

// question is one number that the broker knows. A collection never fails for
// it and never waits long: without an answer the number is left out. An error
// is logged when it is news.
type question struct {
	bus  *Bus
	what string
	ask  func(context.Context) (int64, error)

	mu      sync.Mutex
	value   int64
	at      time.Time     // of the value, which may be that it is unknown
	asked   time.Time     // when the one under way began
	pending chan struct{} // closed by its end; nil: none is under way
	slow    bool          // the last one took too long: nobody waits until one was answered
	failing bool
}

// begin asks, unless that is under way or there is an answer that is fresh.
func (q *question) begin() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending != nil || time.Since(q.at) < answerFresh || q.bus.kill.Err() != nil {
		return
	}
	q.pending, q.asked = make(chan struct{}), time.Now()
	go q.run(q.pending)
}

func (q *question) run(done chan struct{}) {
	ctx, cancel := context.WithTimeout(q.bus.kill, askTimeout)
	defer cancel()
	value, err := q.guarded(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.value, q.at, q.slow, q.failing = value, time.Now(), false, false
	} else if !q.failing && q.bus.kill.Err() == nil {
		q.failing = true
		q.bus.log.Warn("the broker did not tell a metric", append(q.bus.place(), slog.String("metric", q.what), slog.Any("error", err))...)
	}
	q.pending = nil
	close(done)
}

func (q *question) guarded(ctx context.Context) (value int64, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panicked: %v", r)
		}
	}()
	return q.ask(ctx)
}

// answer returns the latest answer, which it waits for if that is worth it.
func (q *question) answer(ctx context.Context) int64 {
	q.mu.Lock()
	done, left, slow := q.pending, askPatience-time.Since(q.asked), q.slow
	q.mu.Unlock()
	if done != nil && !slow {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-done:
		case <-ctx.Done():
		case <-timer.C:
			q.mu.Lock()
			q.slow = q.pending == done
			q.mu.Unlock()
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.at) >= answerStale {
		return unknown
	}
	return q.value
}
