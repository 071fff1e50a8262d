package bustest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
)

// Oracle publishes and consumes during a fault, and judges afterwards: what was
// confirmed was handled, nothing was invented, and each key's first deliveries
// were in order. Set its fields, Consume, and Start; its methods are for many
// goroutines. What connects it to a broker, and what it may lose there, is the
// backend's.
type Oracle struct {
	T        testing.TB
	Patience Patience
	Topic    string
	// Publisher publishes: for each of its messages, one after the other, nil,
	// or an error that tells by eventbus.ErrUnknown that it may be published.
	Publisher interface {
		PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error
	}
	Message func(id, key string) *message.Message
	Pause   time.Duration // of each key's publisher, between two messages
	// Late allows what was unknown to come late, out of its key's order.
	Late bool
	// Before is called before a message is handled, unless it is nil.
	Before func()

	mu       sync.Mutex
	outcomes map[string]error // of what was tried: nil when confirmed, [errTried] before that
	handled  map[string]int
	order    map[int][]int   // per key, the numbers as they were first handled
	excused  map[string]bool // what may be lost
	disorder []string

	stop       context.CancelFunc
	publishers sync.WaitGroup
	handlers   sync.WaitGroup
}

// Keys is how many publishers an oracle has, each with its key.
const Keys = 16

var errTried = errors.New("is being published")

// Consume handles the messages until the channel is closed.
func (o *Oracle) Consume(out <-chan *message.Message) {
	o.handlers.Go(func() {
		for m := range out {
			o.handlers.Go(func() { o.handle(m) })
		}
	})
}

// Start begins to publish.
func (o *Oracle) Start() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(o.T.Context()))
	o.stop = cancel
	for key := range Keys {
		o.publishers.Go(func() { o.publish(ctx, key) })
	}
}

func (o *Oracle) publish(ctx context.Context, key int) {
	for n := 1; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%d/%d", key, n)
		o.told(id, errTried)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		errs := o.Publisher.PublishBatch(bounded, o.Topic, []*message.Message{o.Message(id, fmt.Sprint(key))})
		cancel()
		if errs == nil {
			errs = []error{nil}
		}
		o.told(id, errs[0])
		select {
		case <-time.After(o.Pause):
		case <-ctx.Done():
		}
	}
}

// told notes what is known of a message that is published.
func (o *Oracle) told(id string, outcome error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.outcomes == nil {
		o.outcomes = map[string]error{}
	}
	o.outcomes[id] = outcome
}

// refused reports whether an outcome says that the message is not published.
func refused(outcome error) bool {
	return outcome != nil && !errors.Is(outcome, errTried) && !errors.Is(outcome, eventbus.ErrUnknown)
}

func (o *Oracle) handle(m *message.Message) {
	if o.Before != nil {
		o.Before()
	}
	var key, n int
	_, _ = fmt.Sscanf(m.UUID, "%d/%d", &key, &n) // what is none of ours was not tried
	o.mu.Lock()
	defer o.mu.Unlock()
	if outcome, tried := o.outcomes[m.UUID]; !tried || refused(outcome) {
		o.disorder = append(o.disorder, fmt.Sprintf("never published: %s: %v", m.UUID, outcome))
	}
	if o.handled == nil {
		o.handled, o.order = map[string]int{}, map[int][]int{}
	}
	o.handled[m.UUID]++
	if o.handled[m.UUID] == 1 {
		o.order[key] = append(o.order[key], n)
	}
	m.Ack()
}

// Confirmed returns what is confirmed so far.
func (o *Oracle) Confirmed() map[string]bool {
	return o.those(func(_ string, outcome error) bool { return outcome == nil })
}

// Tried returns what was given to the publisher so far.
func (o *Oracle) Tried() map[string]bool {
	return o.those(func(string, error) bool { return true })
}

// Refused returns what the publisher refused so far.
func (o *Oracle) Refused() map[string]bool {
	return o.those(func(_ string, outcome error) bool { return refused(outcome) })
}

// Lost returns what is confirmed and was not handled yet, unless it is excused.
func (o *Oracle) Lost() map[string]bool {
	return o.those(func(id string, outcome error) bool {
		return outcome == nil && o.handled[id] == 0 && !o.excused[id]
	})
}

func (o *Oracle) those(are func(id string, outcome error) bool) map[string]bool {
	ids := map[string]bool{}
	o.count(func(id string, outcome error) bool {
		if are(id, outcome) {
			ids[id] = true
		}
		return ids[id]
	})
	return ids
}

func (o *Oracle) count(are func(id string, outcome error) bool) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, outcome := range o.outcomes {
		if are(id, outcome) {
			n++
		}
	}
	return n
}

// Excuse lets some of it be lost from now on.
func (o *Oracle) Excuse(ids map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.excused == nil {
		o.excused = map[string]bool{}
	}
	maps.Copy(o.excused, ids)
}

// Progress waits until n more events, none of them excused, are confirmed and
// handled.
func (o *Oracle) Progress(n int) {
	o.T.Helper()
	count := func() int {
		return o.count(func(id string, outcome error) bool {
			return outcome == nil && o.handled[id] > 0 && !o.excused[id]
		})
	}
	target := count() + n
	o.Patience.Eventually(o.T, fmt.Sprintf("%d more events are confirmed and handled", n), func() bool { return count() >= target })
}

// Stop ends publishing.
func (o *Oracle) Stop() {
	o.stop()
	o.publishers.Wait()
}

// Judge checks, when publishing has ended and what was subscribed is closed. It
// returns how many events were handled more than once.
func (o *Oracle) Judge() (repeated int) {
	o.T.Helper()
	o.handlers.Wait()
	lost, confirmed := slices.Sorted(maps.Keys(o.Lost())), len(o.Confirmed())
	if len(lost) > 0 {
		o.T.Errorf("%d confirmed events of %d were never handled: %.200s", len(lost), confirmed, fmt.Sprint(lost))
	}
	if o.judgeOrder(); len(o.disorder) > 0 {
		o.T.Errorf("%d out of order or invented: %.600s", len(o.disorder), fmt.Sprint(o.disorder))
	}
	for _, n := range o.handled {
		if n > 1 {
			repeated++
		}
	}
	gone := o.count(func(id string, outcome error) bool { return outcome == nil && o.handled[id] == 0 && o.excused[id] })
	o.T.Logf("confirmed %d, refused %d, tried %d, handled %d, repeated %d, lost and excused %d",
		confirmed, len(o.Refused()), len(o.outcomes), len(o.handled), repeated, gone)
	return repeated
}

func (o *Oracle) judgeOrder() {
	for key, numbers := range o.order {
		last := 0
		for _, n := range numbers {
			id := fmt.Sprintf("%d/%d", key, n)
			if o.Late && errors.Is(o.outcomes[id], eventbus.ErrUnknown) {
				continue // its publisher went on without it
			}
			if n < last {
				o.disorder = append(o.disorder, fmt.Sprintf("%s first came after %d/%d", id, key, last))
			}
			last = n
		}
	}
}
