package router_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/router"
)

// The key function sees whatever is on the topic: a panic in it must not end
// the process, which would get the same message again.
func TestDecorate_AKeyFunctionMayPanic(t *testing.T) {
	ps := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	defer func() { _ = ps.Close() }()
	sub := router.Decorate(ps, router.DrainConfig{Concurrency: 2, Key: func(m *message.Message) string { return m.Metadata["tenant"][:1] }})
	out, err := sub.Subscribe(context.Background(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := ps.Publish("orders", message.NewMessage("1", nil)); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-out:
		m.Ack()
	case <-time.After(10 * time.Second):
		t.Error("the message was not delivered")
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}
