package middleware

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/ctxkey"
)

// Delivery is what a transport knows about one delivery of a message. It must
// not be modified once it is in a context. Fields that the broker does not have
// are empty, Partition and Offset [dlq.NoPosition].
type Delivery struct {
	System    string // "redis", "rabbitmq", "kafka", "memory"
	Topic     string // stream, topic or queue
	Group     string // the consumer group
	ID        string // entry id, delivery tag
	Key       string // ordering key
	Partition int32  // where there are partitions
	Offset    int64  // within the partition
	Count     int    // deliveries so far, this one included; 0: unknown
	// Malformed says why the transport could not make a message of what it
	// received; the payload then holds the raw bytes. Such a delivery is no
	// handler's business: DeadLetter buries it. nil for all others.
	Malformed error
}

// Source returns the delivery as a letter tells it.
func (d *Delivery) Source() dlq.Source {
	return dlq.Source{Topic: d.Topic, Partition: d.Partition, Offset: d.Offset, ID: d.ID}
}

type (
	deliveryKey = ctxkey.Delivery
	handlerKey  = ctxkey.Handler
	attemptKey  = ctxkey.Attempt
)

// WithDelivery returns a context that carries the delivery.
func WithDelivery(ctx context.Context, d *Delivery) context.Context {
	return context.WithValue(ctx, deliveryKey{}, d)
}

// DeliveryFrom returns the delivery that a transport put into the context; nil
// when none did, as with Watermill's own transports.
func DeliveryFrom(ctx context.Context) *Delivery {
	d, _ := ctx.Value(deliveryKey{}).(*Delivery)
	return d
}

// WithHandlerName returns a context that names the handler that runs.
func WithHandlerName(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, handlerKey{}, name)
}

// HandlerName returns the name set by [WithHandlerName], else the one that a
// Watermill router gave its handler, else nothing.
func HandlerName(ctx context.Context) string {
	if name, ok := ctx.Value(handlerKey{}).(string); ok {
		return name
	}
	return message.HandlerNameFromCtx(ctx)
}

// Attempt returns which attempt at the message this is, counted by [Retry]: 1 is
// the first.
func Attempt(ctx context.Context) int {
	if n, ok := ctx.Value(attemptKey{}).(int); ok {
		return n
	}
	return 1
}

func withAttempt(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, attemptKey{}, n)
}

// groupOf returns the consumer group: what the transport says, else the bus.
func groupOf(ctx context.Context) string {
	if d := DeliveryFrom(ctx); d != nil && d.Group != "" {
		return d.Group
	}
	group, _ := ctx.Value(ctxkey.Group{}).(string)
	return group
}

// topicOf returns where the message came from: what the transport says, else
// the topic that a Watermill router subscribed to.
func topicOf(ctx context.Context) string {
	if d := DeliveryFrom(ctx); d != nil && d.Topic != "" {
		return d.Topic
	}
	return message.SubscribeTopicFromCtx(ctx)
}
