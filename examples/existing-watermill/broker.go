package main

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

// broker is what the story needs of a broker; each has a file of its own.
type broker struct {
	name, topic string

	// What the service has: the stock adapter. Each handler gets a subscriber of
	// its own, since the router closes it with the handler.
	stockPublisher  message.Publisher
	stockSubscriber func(group string) (message.Subscriber, error)

	// What leat joins with: its own transport, on the same topic.
	publisher  eventbus.BatchPublisher
	subscriber func(group string) (message.Subscriber, error)
	letters    func(group string) (dlq.Store, error)
	// takeover is the subscriber with which leat goes on where the stock handlers
	// of a group have stopped.
	takeover func(group string) (message.Subscriber, error)
	// history is whether a new group gets what was published before it.
	history bool

	remove func(context.Context) error // the topic, the groups and the letters
	close  func() error
}

// opener connects. The URL may be empty.
type opener func(ctx context.Context, url, topic string) (*broker, error)

func backends() map[string]opener {
	return map[string]opener{"redis": openRedis, "rabbitmq": openRabbitMQ, "kafka": openKafka}
}

// concurrency is how many orders leat's handlers work on at once; the stock
// adapters have one in hand, whatever is asked of them.
const concurrency = 8
