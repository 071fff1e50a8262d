package dlq_test

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// log is a Pub/Sub with history whose topics are ordered logs, as one Redis
// stream is: a subscription begins with the oldest message and gets them one by
// one, each after the ack of the one before.
type log struct {
	fail func(topic string, m *message.Message) error // before a message is taken in

	mu     sync.Mutex
	topics map[string][]*message.Message
	more   chan struct{} // closed when something was added
	closes int
}

func newLog() *log {
	return &log{topics: map[string][]*message.Message{}, more: make(chan struct{})}
}

func (g *log) Publish(topic string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if g.fail != nil {
			if err := g.fail(topic, m); err != nil {
				return err
			}
		}
		g.mu.Lock()
		g.topics[topic] = append(g.topics[topic], m.Copy())
		close(g.more)
		g.more = make(chan struct{})
		g.mu.Unlock()
	}
	return nil
}

func (g *log) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for i := 0; ; i++ {
			m := g.at(ctx, topic, i)
			if m == nil {
				return
			}
			select {
			case out <- m:
			case <-ctx.Done():
				return
			}
			select {
			case <-m.Acked():
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// at waits for the i-th message of a topic.
func (g *log) at(ctx context.Context, topic string, i int) *message.Message {
	for {
		g.mu.Lock()
		more := g.more
		if msgs := g.topics[topic]; i < len(msgs) {
			g.mu.Unlock()
			return msgs[i].Copy()
		}
		g.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

func (g *log) published(topic string) []*message.Message {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*message.Message(nil), g.topics[topic]...)
}

func (g *log) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closes++
	return nil
}
