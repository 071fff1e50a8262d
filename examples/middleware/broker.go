package main

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
)

// broker is a Watermill Pub/Sub and what belongs to it. A backend's Open makes
// all this by itself; here the parts are put together by hand, because a
// publisher is decorated.
type broker struct {
	title, system, topic string

	publisher message.Publisher
	encrypted func(*Encryption) message.Publisher // the publisher, decorated
	events    message.Subscriber                  // of the bus
	plain     message.Subscriber                  // of the plain handler, a group of its own
	letters   dlq.Store

	stored func(context.Context) ([]string, error) // all payloads in the broker
	clear  func(context.Context) error             // so that the next run begins anew
	close  func() error
}
