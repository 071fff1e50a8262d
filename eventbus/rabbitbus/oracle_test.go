package rabbitbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// oracle publishes and consumes during a fault, and judges afterwards: what was
// confirmed was handled, nothing was invented, and each key's first deliveries
// were in order.
type oracle struct {
	t          testing.TB
	topic      string
	pub        *rabbitbus.Publisher
	sub        *rabbitbus.Subscriber
	log        *lines
	publishing *rabbitbus.Client
	proxy      *proxy.Proxy // between all of it and the broker

	mu        sync.Mutex
	confirmed map[string]bool
	tried     map[string]bool
	refused   map[string]bool
	unknown   map[string]bool
	handled   map[string]int
	order     map[int][]int // of a key's first deliveries
	disorder  []string

	holding func() bool // what the next handler waits for

	stopPublishing context.CancelFunc
	publishers     sync.WaitGroup
	handlers       sync.WaitGroup
}

const oracleKeys = 16

// observe starts publishers and a consumer on the server at the address.
func observe(t testing.TB, url string, broker *brokers.Instance, cfg rabbitbus.SubscriberConfig) *oracle {
	t.Helper()
	o := &oracle{
		t: t, topic: name(t, url, "oracle"), log: &lines{},
		confirmed: map[string]bool{}, tried: map[string]bool{}, refused: map[string]bool{},
		unknown: map[string]bool{}, handled: map[string]int{}, order: map[int][]int{},
	}
	url, o.proxy = throughProxy(t, url)
	url += "?heartbeat=2"
	cfg.Client, cfg.Logger = connect(t, url), slog.New(o.log)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	o.publishing = connect(t, url)
	o.pub = newPublisher(t, rabbitbus.PublisherConfig{Client: o.publishing, Topology: cfg.Topology, Logger: cfg.Logger})
	o.sub = newSubscriber(t, cfg)
	out := subscribe(t, o.sub, o.topic)
	o.handlers.Go(func() {
		for m := range out {
			o.handlers.Go(func() { o.handle(m) })
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v, %+v; log: %s", o.sub.Stats(), o.publishing.Stats(), o.log.all())
			for _, what := range [][]string{{"list_queues", "name", "consumers", "messages_ready", "messages_unacknowledged", "state"}, {"list_consumers"}} {
				said, err := broker.Rabbitmqctl(context.Background(), what...)
				t.Logf("%s: %s%v", what[0], said, err)
			}
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
		errs := o.pub.PublishBatch(bounded, o.topic, []*message.Message{msg(id, fmt.Sprint(key))})
		cancel()
		o.mu.Lock()
		switch {
		case errs == nil:
			o.confirmed[id] = true
		case errors.Is(errs[0], rabbitbus.ErrUnknown):
			o.unknown[id] = true
		default:
			o.refused[id] = true
		}
		o.mu.Unlock()
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// hold makes one handler wait until the condition holds.
func (o *oracle) hold(until func() bool) {
	o.t.Helper()
	o.mu.Lock()
	o.holding = until
	o.mu.Unlock()
	eventually(o.t, "what the handler waits for", until)
}

func (o *oracle) handle(m *message.Message) {
	o.mu.Lock()
	wait := o.holding
	o.holding = nil
	o.mu.Unlock()
	for wait != nil && !wait() {
		<-time.After(10 * time.Millisecond)
	}
	var key, n int
	_, err := fmt.Sscanf(m.UUID, "%d/%d", &key, &n)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil || !o.tried[m.UUID] || o.refused[m.UUID] {
		o.disorder = append(o.disorder, "never published: "+m.UUID)
	}
	o.handled[m.UUID]++
	if o.handled[m.UUID] == 1 {
		o.order[key] = append(o.order[key], n)
	}
	m.Ack()
}

// forget drops what was confirmed until now from what must be handled.
func (o *oracle) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.confirmed)
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
			if o.handled[id] == 0 {
				ids = append(ids, id)
			}
		}
		return ids
	}
	deadline := time.Now().Add(patience)
	for len(lost()) > 0 && time.Now().Before(deadline) {
		<-time.After(10 * time.Millisecond)
	}
	if err := o.sub.Close(); err != nil {
		o.t.Errorf("close: %v", err)
	}
	o.handlers.Wait()
	if ids := lost(); len(ids) > 0 {
		o.t.Errorf("%d confirmed events of %d were never handled: %.200v", len(ids), len(o.confirmed), fmt.Sprint(ids))
	}
	// What was unknown may arrive late: its publisher went on without it.
	for key, numbers := range o.order {
		numbers = slices.DeleteFunc(numbers, func(n int) bool { return o.unknown[fmt.Sprintf("%d/%d", key, n)] })
		if !slices.IsSorted(numbers) {
			o.disorder = append(o.disorder, fmt.Sprintf("key %d: %v", key, numbers))
		}
	}
	if len(o.disorder) > 0 {
		o.t.Errorf("%d out of order or invented: %.300v", len(o.disorder), fmt.Sprint(o.disorder))
	}
	for _, n := range o.handled {
		if n > 1 {
			repeated++
		}
	}
	o.t.Logf("confirmed %d, refused %d, tried %d, handled %d, repeated %d, %+v; log: %q",
		len(o.confirmed), len(o.refused), len(o.tried), len(o.handled), repeated, o.sub.Stats(), o.log.all())
	return repeated
}
