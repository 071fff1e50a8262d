package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// broker is what a good broker is, in memory: topics that keep everything,
// groups that share, redelivery of what was not acked. The suite must pass on
// it as a whole; with a defect planted, it must not.
type broker struct {
	mu     sync.Mutex
	topics map[string]*brokerTopic
	serial int // of subscriptions without a group
	closed bool
}

type brokerTopic struct {
	log    []*message.Message // nil: a foreign entry
	groups map[string]*brokerGroup
	change chan struct{} // closed at the next change
}

type brokerGroup struct {
	next int
	seen map[int]int // deliveries
	back []int       // to be delivered again, ascending
}

func newBroker() *broker { return &broker{topics: map[string]*brokerTopic{}} }

// topic is called with mu held.
func (b *broker) topic(name string) *brokerTopic {
	t := b.topics[name]
	if t == nil {
		t = &brokerTopic{groups: map[string]*brokerGroup{}, change: make(chan struct{})}
		b.topics[name] = t
	}
	return t
}

func (t *brokerTopic) changed() {
	close(t.change)
	t.change = make(chan struct{})
}

var errBrokerClosed = errors.New("broker: closed by its client")

func (b *broker) Publish(topic string, msgs ...*message.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errBrokerClosed
	}
	t := b.topic(topic)
	for _, m := range msgs {
		if m != nil {
			m = m.Copy()
		}
		t.log = append(t.log, m)
	}
	t.changed()
	return nil
}

// Close is what the bus must not call.
func (b *broker) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

func (b *broker) usable() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errBrokerClosed
	}
	return nil
}

// consumer is a Subscriber of one group; without a group each subscription
// gets everything from the start.
type consumer struct {
	broker   *broker
	group    string
	prefetch int

	// limit is after how many deliveries a message is buried instead; 0: never.
	limit int
	bury  func(*message.Message)

	// Planted defects: the broker is told before the handler ran; a foreign entry
	// ends the subscription; a group begins at the end whenever it subscribes; an
	// unsettled message is delivered again after so long.
	earlyAck, endsOnForeign, forgets, uncounted bool
	robs                                        time.Duration
}

func (c *consumer) Close() error { return c.broker.Close() }

func (c *consumer) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := c.broker.usable(); err != nil {
		return nil, err
	}
	c.broker.mu.Lock()
	group := c.group
	if group == "" {
		c.broker.serial++
		group = fmt.Sprintf("anonymous-%d", c.broker.serial)
	}
	t := c.broker.topic(topic)
	g := t.groups[group]
	if g == nil {
		g = &brokerGroup{seen: map[int]int{}}
		t.groups[group] = g
	}
	if c.forgets {
		g.next = len(t.log)
	}
	c.broker.mu.Unlock()
	out := make(chan *message.Message)
	slots := make(chan struct{}, max(c.prefetch, 1))
	go func() {
		defer close(out)
		var flying sync.WaitGroup
		defer flying.Wait()
		for {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			i, m, ok := c.take(ctx, t, g)
			if !ok {
				return
			}
			own := m.Copy()
			live, settled := context.WithCancel(ctx)
			own.SetContext(live)
			if c.earlyAck {
				i = -1
			}
			select {
			case out <- own:
				flying.Go(func() {
					defer func() { <-slots }()
					defer settled() // tells the drain that the broker knows
					c.settle(ctx, t, g, i, own)
				})
			case <-ctx.Done():
				settled()
				c.giveBack(t, g, i)
				return
			}
		}
	}()
	return out, nil
}

// take waits for the next message of the group.
func (c *consumer) take(ctx context.Context, t *brokerTopic, g *brokerGroup) (int, *message.Message, bool) {
	for {
		c.broker.mu.Lock()
		i := -1
		if len(g.back) > 0 {
			i, g.back = g.back[0], slices.Clone(g.back[1:])
		} else {
			for g.next < len(t.log) && t.log[g.next] == nil {
				if c.endsOnForeign {
					c.broker.mu.Unlock()
					<-ctx.Done()
					return 0, nil, false
				}
				g.next++ // a foreign entry
			}
			if g.next < len(t.log) {
				i = g.next
				g.next++
			}
		}
		if i >= 0 {
			m := t.log[i]
			g.seen[i]++
			dead := c.limit > 0 && !c.uncounted && g.seen[i] > c.limit
			c.broker.mu.Unlock()
			if dead {
				c.bury(m)
				continue
			}
			return i, m, true
		}
		change := t.change
		c.broker.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
			return 0, nil, false
		}
	}
}

func (c *consumer) settle(ctx context.Context, t *brokerTopic, g *brokerGroup, i int, m *message.Message) {
	var robbed <-chan time.Time
	if c.robs > 0 {
		robbed = time.After(c.robs)
	}
	select {
	case <-robbed:
	case <-m.Acked():
		return
	case <-m.Nacked():
	case <-ctx.Done():
		select {
		case <-m.Acked():
			return
		default:
		}
	}
	c.giveBack(t, g, i)
}

func (c *consumer) giveBack(t *brokerTopic, g *brokerGroup, i int) {
	if i < 0 {
		return
	}
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	at, _ := slices.BinarySearch(g.back, i)
	g.back = slices.Insert(g.back, at, i)
	t.changed()
}
