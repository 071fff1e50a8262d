package tracing

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
)

// batchPublisher is what leat's own transports offer besides Publish: a result
// for each message.
type batchPublisher interface {
	message.Publisher
	PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error
}

// Publisher returns a publisher that publishes through pub and makes one span
// for each message, the child of the span in the message's context. It is for
// plain Watermill projects: a leat bus traces its publishing itself, and would
// make each span twice with a publisher decorated so.
//
// It has the concurrency, the blocking and the errors of pub, and hands on
// pub's PublishBatch where there is one. Close closes pub.
func (t *Tracer) Publisher(pub message.Publisher) message.Publisher {
	if b, ok := pub.(batchPublisher); ok {
		return &tracedBatchPublisher{tracedPublisher{pub, t}, b}
	}
	return &tracedPublisher{pub, t}
}

// PublisherDecorator is Publisher in the form that a Watermill router takes:
//
//	r.AddPublisherDecorators(t.PublisherDecorator)
func (t *Tracer) PublisherDecorator(pub message.Publisher) (message.Publisher, error) {
	return t.Publisher(pub), nil
}

// errPanicked is how a publishing ended that did not return.
var errPanicked = errors.New("tracing: the publisher panicked")

type tracedPublisher struct {
	message.Publisher
	tracer *Tracer
}

func (p *tracedPublisher) Publish(topic string, msgs ...*message.Message) error {
	publishing := p.tracer.startPublish(context.Background(), topic, true, msgs)
	err := errPanicked
	defer func() { publishing.End(err) }()
	err = p.Publisher.Publish(topic, msgs...)
	return err
}

type tracedBatchPublisher struct {
	tracedPublisher
	batch batchPublisher
}

func (p *tracedBatchPublisher) PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error {
	publishing := p.tracer.startPublish(ctx, topic, false, msgs)
	errs := p.batch.PublishBatch(ctx, topic, msgs)
	publishing.EndEach(errs)
	return errs
}
