package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/redisbus"
)

// oracle publishes and consumes during a fault, and judges afterwards: what was
// confirmed was handled, nothing was invented, and each key's first deliveries
// were in order.
type oracle struct {
	t      testing.TB
	stream string
	pub    *redisbus.Publisher
	sub    *redisbus.Subscriber
	log    *lines

	mu        sync.Mutex
	confirmed map[string]bool
	tried     map[string]bool
	refused   map[string]bool
	handled   map[string]int
	order     map[string][]int // per key, the numbers as they were first handled
	atRisk    map[string]bool  // sent to a server that may not have passed them on
	disorder  []string

	stopPublishing context.CancelFunc
	publishers     sync.WaitGroup
	handlers       sync.WaitGroup
}

const oracleKeys = 16

// observe starts publishers and a consumer on the server at the address.
func observe(t testing.TB, client redis.UniversalClient, cfg redisbus.SubscriberConfig) *oracle {
	t.Helper()
	o := &oracle{
		t: t, stream: "oracle", log: &lines{},
		confirmed: map[string]bool{}, tried: map[string]bool{}, refused: map[string]bool{},
		handled: map[string]int{}, order: map[string][]int{},
	}
	cfg.Client, cfg.Logger = client, slog.New(o.log)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	o.pub = newPublisher(t, redisbus.PublisherConfig{Client: client})
	o.sub = newSubscriber(t, cfg)
	out := subscribe(t, o.sub, o.stream)
	o.handlers.Go(func() {
		for m := range out {
			o.handlers.Go(func() { o.handle(m) })
		}
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	o.stopPublishing = cancel
	for key := range oracleKeys {
		o.publishers.Go(func() { o.publish(ctx, key) })
	}
	return o
}

func (o *oracle) publish(ctx context.Context, key int) {
	for n := 1; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%d/%d", key, n)
		o.mu.Lock()
		o.tried[id] = true
		o.mu.Unlock()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		errs := o.pub.PublishBatch(bounded, o.stream, []*message.Message{msg(id, fmt.Sprint(key))})
		cancel()
		o.mu.Lock()
		switch {
		case errs == nil:
			o.confirmed[id] = true
		case !errors.Is(errs[0], redisbus.ErrUnknown):
			o.refused[id] = true
		}
		o.mu.Unlock()
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (o *oracle) handle(m *message.Message) {
	var key, n int
	_, err := fmt.Sscanf(m.UUID, "%d/%d", &key, &n)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil || !o.tried[m.UUID] || o.refused[m.UUID] {
		o.disorder = append(o.disorder, "never published: "+m.UUID)
	}
	o.handled[m.UUID]++
	k := fmt.Sprint(key)
	if o.handled[m.UUID] == 1 {
		o.order[k] = append(o.order[k], n)
	}
	m.Ack()
}

// progress waits until n more events are confirmed and handled.
func (o *oracle) progress(n int) {
	o.t.Helper()
	count := func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		both := 0
		for id := range o.confirmed {
			if o.handled[id] > 0 {
				both++
			}
		}
		return both
	}
	target := count() + n
	eventually(o.t, fmt.Sprintf("%d more events are confirmed and handled", n), func() bool { return count() >= target })
}

// soFar returns what is confirmed.
func (o *oracle) soFar() map[string]bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.confirmed)
}

// refusals returns how many events the server has refused.
func (o *oracle) refusals() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.refused)
}

// forgive lets what was published since then be lost: a server that died had
// confirmed it alone, though its publisher may hear of that later than now.
func (o *oracle) forgive(since map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.atRisk = map[string]bool{}
	for id := range o.tried {
		o.atRisk[id] = !since[id]
	}
}

// judge ends publishing, waits for the rest, and checks. It returns how many
// events were handled more than once.
func (o *oracle) judge() (repeated int) {
	o.t.Helper()
	o.stopPublishing()
	o.publishers.Wait()
	lost := func() (ids []string) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for id := range o.confirmed {
			if o.handled[id] == 0 && !o.atRisk[id] {
				ids = append(ids, id)
			}
		}
		return ids
	}
	// As long as it goes on, it may take its time.
	left, deadline := len(lost()), time.Now().Add(patience)
	for left > 0 && time.Now().Before(deadline) {
		<-time.After(10 * time.Millisecond)
		if n := len(lost()); n < left {
			left, deadline = n, time.Now().Add(patience)
		}
	}
	if err := o.sub.Close(); err != nil {
		o.t.Errorf("close: %v", err)
	}
	o.handlers.Wait()
	if ids := lost(); len(ids) > 0 {
		o.t.Errorf("%d confirmed events of %d were never handled: %.200v", len(ids), len(o.confirmed), ids)
	}
	for k, numbers := range o.order {
		last := 0
		for _, n := range numbers {
			// What its publisher was told nothing of may come whenever it likes.
			if id := fmt.Sprintf("%s/%d", k, n); o.confirmed[id] {
				if n < last {
					o.disorder = append(o.disorder, fmt.Sprintf("%s first came after %s/%d", id, k, last))
				}
				last = n
			}
		}
	}
	if len(o.disorder) > 0 {
		o.t.Errorf("%d out of order or invented: %.300v", len(o.disorder), o.disorder)
	}
	for _, n := range o.handled {
		if n > 1 {
			repeated++
		}
	}
	gone := 0
	for id, may := range o.atRisk {
		if may && o.confirmed[id] && o.handled[id] == 0 {
			gone++
		}
	}
	o.t.Logf("confirmed %d, refused %d, tried %d, handled %d, repeated %d, lost with their server %d, %+v; log: %q",
		len(o.confirmed), len(o.refused), len(o.tried), len(o.handled), repeated, gone, o.sub.Stats(), o.log.above(slog.LevelInfo))
	return repeated
}
