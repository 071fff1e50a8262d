package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// oracle publishes and consumes during a fault, and judges afterwards: what was
// confirmed was handled, nothing was invented, and each key's first deliveries
// were in order over all members of the group.
type oracle struct {
	t      testing.TB
	client *kgo.Client
	topic  string
	pub    *kafkabus.Publisher
	cfg    kafkabus.SubscriberConfig
	log    *lines

	mu        sync.Mutex
	confirmed map[string]bool
	tried     map[string]bool
	refused   map[string]error
	handled   map[string]int
	last      map[int]int // per key, the highest number handled
	disorder  []string
	members   []*kafkabus.Subscriber

	stopPublishing context.CancelFunc
	publishers     sync.WaitGroup
	handlers       sync.WaitGroup
}

const oracleKeys = 16

// shortSession is the group's of tests that wait for dead members.
const shortSession = 1500 * time.Millisecond

// observe starts publishers and one member on the brokers of a client.
func observe(t testing.TB, client *kgo.Client, cfg kafkabus.SubscriberConfig) *oracle {
	t.Helper()
	o := &oracle{
		t: t, client: client, topic: name("oracle"), log: &lines{},
		confirmed: map[string]bool{}, tried: map[string]bool{}, refused: map[string]error{},
		handled: map[string]int{}, last: map[int]int{},
	}
	cfg.Client, cfg.Logger, cfg.ConsumerGroup = client, slog.New(o.log), name("g")
	cfg.Topics = kafkabus.TopicConfig{Partitions: 4}
	cfg.SessionTimeout, cfg.HeartbeatInterval = shortSession, shortSession/5
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	o.cfg = cfg
	o.pub = newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: cfg.Topics})
	o.join()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log: %q", o.log.all())
		}
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	o.stopPublishing = cancel
	for key := range oracleKeys {
		o.publishers.Go(func() { o.publish(ctx, key) })
	}
	return o
}

// join adds a member to the group.
func (o *oracle) join() *kafkabus.Subscriber {
	o.t.Helper()
	sub := newSubscriber(o.t, o.cfg)
	out := subscribe(o.t, sub, o.topic)
	o.handlers.Go(func() {
		for m := range out {
			o.handlers.Go(func() { o.handle(m) })
		}
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.members = append(o.members, sub)
	return sub
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
		case !errors.Is(errs[0], kafkabus.ErrUnknown):
			o.refused[id] = errs[0]
		}
		o.mu.Unlock()
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (o *oracle) handle(m *message.Message) {
	var key, n int
	_, err := fmt.Sscanf(m.UUID, "%d/%d", &key, &n)
	o.mu.Lock()
	defer o.mu.Unlock()
	if refused := o.refused[m.UUID]; err != nil || !o.tried[m.UUID] || refused != nil {
		o.disorder = append(o.disorder, fmt.Sprintf("never published: %s: %v", m.UUID, refused))
	}
	o.handled[m.UUID]++
	if o.handled[m.UUID] == 1 {
		if n < o.last[key] {
			o.disorder = append(o.disorder, fmt.Sprintf("%s first came after %d/%d", m.UUID, key, o.last[key]))
		}
		o.last[key] = n
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

func (o *oracle) lost() (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := range o.confirmed {
		if o.handled[id] == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// judge ends publishing, waits for the rest, and checks. It returns how many
// events were handled more than once.
func (o *oracle) judge() (repeated int) {
	o.t.Helper()
	o.stopPublishing()
	o.publishers.Wait()
	for deadline := time.Now().Add(patience); len(o.lost()) > 0 && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	var stats []kafkabus.SubscriberStats
	for _, sub := range o.members {
		if err := sub.Close(); err != nil {
			o.t.Errorf("close: %v", err)
		}
		stats = append(stats, sub.Stats())
	}
	o.handlers.Wait()
	if ids := o.lost(); len(ids) > 0 {
		o.t.Errorf("%d confirmed events of %d were never handled: %.200s", len(ids), len(o.confirmed), fmt.Sprint(ids))
	}
	if len(o.disorder) > 0 {
		o.t.Errorf("%d out of order or invented: %.600s", len(o.disorder), fmt.Sprint(o.disorder))
	}
	for _, n := range o.handled {
		if n > 1 {
			repeated++
		}
	}
	o.t.Logf("confirmed %d, refused %d, tried %d, handled %d, repeated %d", len(o.confirmed), len(o.refused), len(o.tried), len(o.handled), repeated)
	o.t.Logf("%+v", stats[0])
	return repeated
}
