package tracing_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/codes"

	"github.com/leat-go/leat/middleware/tracing"
)

// recorder is a publisher that keeps what it is given.
type recorder struct {
	err    error
	topic  string
	msgs   []*message.Message
	closed int
}

func (r *recorder) Publish(topic string, msgs ...*message.Message) error {
	r.topic, r.msgs = topic, append(r.msgs, msgs...)
	return r.err
}

func (r *recorder) Close() error { r.closed++; return nil }

// batches also answers for each message, as leat's transports do.
type batches struct {
	recorder
	errs []error
}

func (b *batches) PublishBatch(_ context.Context, topic string, msgs []*message.Message) []error {
	b.topic, b.msgs = topic, append(b.msgs, msgs...)
	return b.errs
}

func TestPublisher_HandsOnTopicErrorAndClose(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	refused := errors.New("refused")
	inner := &recorder{err: refused}
	pub := r.tracer(tracing.Config{System: "redis", Topic: "configured"}).Publisher(inner)

	if err := pub.Publish("called", event(), event()); !errors.Is(err, refused) {
		t.Errorf("error = %v, want the publisher's", err)
	}
	if inner.topic != "called" || len(inner.msgs) != 2 {
		t.Errorf("%d messages went to %q, want 2 to called", len(inner.msgs), inner.topic)
	}
	spans := r.all("redis.publish OrderPlaced")
	if len(spans) != 2 {
		t.Fatalf("%d spans, want one for each of 2 messages", len(spans))
	}
	for _, s := range spans {
		if got := attrs(s.Attributes); got["messaging.destination.name"] != "called" || got["error.type"] != "*errors.errorString" {
			t.Errorf("attributes = %v", got)
		}
		if s.Status.Code != codes.Error || s.Status.Description != "refused" {
			t.Errorf("status = %+v, want error refused", s.Status)
		}
	}
	if err := pub.Close(); err != nil || inner.closed != 1 {
		t.Errorf("Close closed the publisher %d times, error %v", inner.closed, err)
	}
	if err := pub.Publish("called"); !errors.Is(err, refused) {
		t.Errorf("publishing nothing: error = %v, want the publisher's", err)
	}
	if _, ok := pub.(interface {
		PublishBatch(context.Context, string, []*message.Message) []error
	}); ok {
		t.Error("the decorator offers PublishBatch, which the publisher has not")
	}
}

func TestPublisher_HandsOnPublishBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inner := &batches{errs: []error{nil, errors.New("refused")}}
	pub, ok := r.tracer(tracing.Config{System: "redis"}).Publisher(inner).(interface {
		PublishBatch(context.Context, string, []*message.Message) []error
	})
	if !ok {
		t.Fatal("the decorator hides PublishBatch")
	}
	ctx, root := r.begin(context.Background(), "request")
	defer root.End()
	a, b := event(), event()
	a.UUID, b.UUID = "a", "b"
	errs := pub.PublishBatch(ctx, "orders", []*message.Message{a, b})
	if len(errs) != 2 || errs[0] != nil || errs[1] == nil {
		t.Errorf("results = %v, want the publisher's", errs)
	}
	spans := r.all("redis.publish OrderPlaced")
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2", len(spans))
	}
	for _, s := range spans {
		childOf(t, s, root.SpanContext())
		if failed := s.Status.Code == codes.Error; failed != (attrs(s.Attributes)["messaging.message.id"] == "b") {
			t.Errorf("span %v has status %+v", attrs(s.Attributes), s.Status)
		}
	}
}

type exploding struct{ recorder }

func (*exploding) Publish(string, ...*message.Message) error { panic("boom") }

func TestPublisher_EndsItsSpansWhenThePublisherPanics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pub := r.tracer(tracing.Config{System: "redis"}).Publisher(&exploding{})
	func() {
		defer func() {
			if got := recover(); got != "boom" {
				t.Errorf("panic = %v, want the publisher's", got)
			}
		}()
		_ = pub.Publish("orders", event())
	}()
	if got := r.one(t, "redis.publish OrderPlaced").Status; got.Code != codes.Error {
		t.Errorf("status = %+v, want error", got)
	}
}
