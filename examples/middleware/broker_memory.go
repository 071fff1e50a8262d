package main

import (
	"context"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
)

// openMemory is Watermill's own in-memory Pub/Sub.
func openMemory(topic string) (*broker, error) {
	ps := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 100}, watermill.NopLogger{})
	seen := &spy{Publisher: ps}
	return &broker{
		title: "memory", system: "gochannel", topic: topic,
		publisher: seen, events: ps, plain: ps, letters: dlq.NewMemStore(dlq.MemConfig{}),
		encrypted: func(e *Encryption) message.Publisher { return e.PlainPublisher(seen) },
		stored:    seen.stored,
		clear:     func(context.Context) error { return nil },
		close:     ps.Close,
	}, nil
}

// spy remembers what passes on its way into the broker.
type spy struct {
	message.Publisher
	mu       sync.Mutex
	payloads []string
}

func (s *spy) Publish(topic string, msgs ...*message.Message) error {
	s.mu.Lock()
	for _, msg := range msgs {
		s.payloads = append(s.payloads, string(msg.Payload))
	}
	s.mu.Unlock()
	return s.Publisher.Publish(topic, msgs...)
}

func (s *spy) stored(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.payloads), nil
}
