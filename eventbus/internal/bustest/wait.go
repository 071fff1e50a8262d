package bustest

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Patience bounds each wait of a package's tests; none is expected to take long.
type Patience time.Duration

// Eventually waits for a condition, and fails the test when it does not come.
func (p Patience) Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Duration(p))
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", time.Duration(p), what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Next returns the next message, unsettled. It fails the test when none comes,
// and when the channel is closed.
func (p Patience) Next(t testing.TB, out <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-out:
		if !ok {
			t.Fatal("the channel was closed, want a message")
		}
		return m
	case <-time.After(time.Duration(p)):
		t.Fatal("no message came")
	}
	return nil
}

// None fails the test when a message comes within the time.
func None(t testing.TB, out <-chan *message.Message, within time.Duration) {
	t.Helper()
	select {
	case m, ok := <-out:
		if ok {
			t.Fatalf("message %s came, want none", m.UUID)
		}
	case <-time.After(within):
	}
}

// Subscribe returns the messages of a topic. The subscription outlives the
// test's context: the subscriber ends it.
func Subscribe(t testing.TB, s message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	out, err := s.Subscribe(context.WithoutCancel(t.Context()), topic)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Publish publishes messages, and fails the test when one of them is not.
func Publish(t testing.TB, p message.Publisher, topic string, msgs ...*message.Message) {
	t.Helper()
	if err := p.Publish(topic, msgs...); err != nil {
		t.Fatal(err)
	}
}

// Message returns a message of a type and, unless it is empty, a key.
func Message(uuid, key string) *message.Message {
	m := message.NewMessage(uuid, []byte(`{"n":"`+uuid+`"}`))
	m.Metadata["event_type"] = "Tested"
	if key != "" {
		m.Metadata["aggregate_id"] = key
	}
	return m
}
