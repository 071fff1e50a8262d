package eventbustest

import (
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Publisher is a Watermill publisher that remembers what was published, and
// sends it nowhere: for tests of code that publishes, with a bus of its own or
// without any. The zero value is ready. All methods may be called from many
// goroutines.
type Publisher struct {
	// Fail, when not nil, is asked before each message; its error is what Publish
	// returns, and the message is not recorded. Set it before use.
	Fail func(topic string, msg *message.Message) error

	mu       sync.Mutex
	messages map[string][]*message.Message
	closed   bool
}

var _ message.Publisher = (*Publisher)(nil)

// Publish records copies of the messages, up to the first one that Fail
// refuses.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if p.Fail != nil {
			if err := p.Fail(topic, m); err != nil {
				return err
			}
		}
		p.mu.Lock()
		if p.messages == nil {
			p.messages = map[string][]*message.Message{}
		}
		p.messages[topic] = append(p.messages[topic], m.Copy())
		p.mu.Unlock()
	}
	return nil
}

// Close records that it was called; the publisher goes on.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// Closed tells whether Close was called.
func (p *Publisher) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Messages returns what was published to the topic, in order.
func (p *Publisher) Messages(topic string) []*message.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.messages[topic])
}

// Want fails the test unless exactly so many messages were published to the
// topic, and returns them.
func (p *Publisher) Want(t testing.TB, topic string, count int) []*message.Message {
	t.Helper()
	got := p.Messages(topic)
	if len(got) != count {
		t.Fatalf("publisher: %d messages on topic %q, want %d", len(got), topic, count)
	}
	return got
}
