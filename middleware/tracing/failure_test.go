package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/codes"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/middleware/tracing"
)

// refusal is an error with a type to be told by.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

func failing(err error) message.HandlerFunc {
	return func(*message.Message) ([]*message.Message, error) { return nil, err }
}

func TestFailure_IsOnTheSpansOfHandlerAndDelivery(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	why := strings.Repeat("w", 2000)
	err := fmt.Errorf("while charging: %w", &refusal{why})
	if _, got := tracer.Consume(tracer.Handle(failing(err)))(event()); !errors.Is(got, err) {
		t.Fatalf("error = %v, want the handler's", got)
	}
	text := ("while charging: " + why)[:1000]
	for _, name := range []string{"redis.consume OrderPlaced", "handle send-invoice"} {
		s := r.one(t, name)
		if s.Status.Code != codes.Error || s.Status.Description != text {
			t.Errorf("span %q has status %+v, want error with the first 1,000 bytes of its text", name, s.Status)
		}
		if got := attrs(s.Attributes)["error.type"]; got != "*tracing_test.refusal" {
			t.Errorf("span %q has error.type %q", name, got)
		}
		if len(s.Events) != 1 || s.Events[0].Name != "exception" {
			t.Fatalf("span %q has events %+v, want one exception", name, s.Events)
		}
		sameAttrs(t, name, s.Events[0].Attributes, map[string]string{
			"exception.type": "*tracing_test.refusal", "exception.message": text,
		})
	}
}

func TestFailure_APanicGoesOnAndEndsTheSpans(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	msg := event()
	before := msg.Context()
	func() {
		defer func() {
			if got := recover(); got != "boom" {
				t.Errorf("panic = %v, want the handler's", got)
			}
		}()
		_, _ = tracer.Consume(tracer.Handle(func(*message.Message) ([]*message.Message, error) { panic("boom") }))(msg)
	}()
	for _, name := range []string{"redis.consume OrderPlaced", "handle send-invoice"} {
		s := r.one(t, name)
		if s.Status.Code != codes.Error || attrs(s.Attributes)["error.type"] != "panic" {
			t.Errorf("span %q has status %+v and attributes %v", name, s.Status, attrs(s.Attributes))
		}
	}
	if msg.Context() != before {
		t.Error("the message kept the middleware's context")
	}
	if got := r.count(t, "leat.in_flight"); got["messaging.system=redis"] != 0 || len(got) != 1 {
		t.Errorf("in flight after the panic: %v, want 0", got)
	}
}

func TestFailure_HandedBackIsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	err := fmt.Errorf("draining: %w", middleware.ErrHandedBack)
	if _, got := tracer.Consume(failing(err))(event()); !errors.Is(got, middleware.ErrHandedBack) {
		t.Fatalf("error = %v, want the handler's", got)
	}
	s := r.one(t, "redis.consume OrderPlaced")
	if s.Status.Code != codes.Unset || len(s.Events) != 1 || s.Events[0].Name != "leat.handed_back" {
		t.Errorf("status = %+v, events = %+v; want unset and one leat.handed_back", s.Status, s.Events)
	}
	if got := r.times(t, "messaging.process.duration"); got["messaging.operation.name=consume,messaging.system=redis"] != 1 {
		t.Errorf("process.duration = %v, want one without an error", got)
	}
}

func TestFailure_DiscardedIsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	if _, err := tracer.Handle(failing(middleware.Discard(&refusal{"too old"})))(event()); err == nil {
		t.Fatal("the handler's error is gone")
	}
	s := r.one(t, "handle send-invoice")
	if s.Status.Code != codes.Unset || len(s.Events) != 1 || s.Events[0].Name != "exception" {
		t.Fatalf("status = %+v, events = %+v; want unset and one exception", s.Status, s.Events)
	}
	sameAttrs(t, "event", s.Events[0].Attributes, map[string]string{
		"exception.type": "*tracing_test.refusal", "exception.message": "too old",
	})
	if got := r.times(t, "leat.handler.duration"); got["leat.handler=send-invoice,messaging.system=redis"] != 1 {
		t.Errorf("handler.duration = %v, want one without an error", got)
	}
}

func TestFailure_TypeIsTheUsersOwn(t *testing.T) {
	t.Parallel()
	cause := &refusal{"no"}
	for want, err := range map[string]error{
		"*tracing_test.refusal":      fmt.Errorf("a: %w", middleware.Permanent(fmt.Errorf("b: %w", cause))),
		"*errors.errorString":        middleware.RetryAfter(errors.New("busy"), time.Second),
		"*middleware.ExhaustedError": &middleware.ExhaustedError{Attempts: 4, Err: cause},
		"*middleware.HandlersError":  &middleware.HandlersError{Failures: []middleware.HandlerFailure{{Handler: "a", Err: cause}}},
		"type-x":                     fmt.Errorf("c: %w", named("x")),
		"*fmt.wrapErrors":            fmt.Errorf("%w, %w", cause, cause),
		"*errors.joinError":          errors.Join(cause, cause),
	} {
		r := newRig(t)
		_, _ = r.tracer(tracing.Config{}).Handle(failing(err))(event())
		if got := attrs(r.one(t, "handle send-invoice").Attributes)["error.type"]; got != want {
			t.Errorf("error.type of %T = %q, want %q", err, got, want)
		}
	}
}

func TestOnRetry_IsCountedByHandlerAndSeenInTheDelivery(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	_, err := tracer.Consume(func(msg *message.Message) ([]*message.Message, error) {
		tracer.OnRetry(msg, middleware.RetryInfo{Attempt: 1, Delay: 1500 * time.Millisecond, Err: errors.New("secret")})
		return nil, nil
	})(event())
	if err != nil {
		t.Fatal(err)
	}
	s := r.one(t, "redis.consume OrderPlaced")
	if len(s.Events) != 1 || s.Events[0].Name != "leat.retry" {
		t.Fatalf("events = %+v, want one leat.retry", s.Events)
	}
	sameAttrs(t, "event", s.Events[0].Attributes, map[string]string{
		"leat.handler": "send-invoice", "leat.attempt": "1", "leat.retry.delay": "1.5",
	})
	if got := r.count(t, "leat.retries"); got["leat.handler=send-invoice,messaging.system=redis"] != 1 || len(got) != 1 {
		t.Errorf("leat.retries = %v", got)
	}
}

func TestOnBuried_IsCountedByHandlerAndFailsTheDelivery(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	letters := dlq.NewMemStore(dlq.MemConfig{})
	handle := tracer.Consume(middleware.DeadLetter{
		Burier: letters, Group: "billing", OnBuried: tracer.OnBuried,
	}.Middleware(tracer.Handle(failing(middleware.Permanent(&refusal{"no such account"})))))
	if _, err := handle(event()); err != nil {
		t.Fatalf("the letter is buried, but the error goes on: %v", err)
	}
	tracer.OnBuried(context.Background(), dlq.Letter{Reason: "permanent_error", Handlers: []string{"audit", "send-invoice"}})
	tracer.OnBuried(context.Background(), dlq.Letter{Reason: "deserialization_error"})

	s := r.one(t, "redis.consume OrderPlaced")
	if s.Status.Code != codes.Error || len(s.Events) != 1 || s.Events[0].Name != "leat.dead_letter" {
		t.Fatalf("status = %+v, events = %+v; want an error and one leat.dead_letter", s.Status, s.Events)
	}
	sameAttrs(t, "event", s.Events[0].Attributes, map[string]string{
		"leat.dead_letter.reason": "permanent_error", "leat.dead_letter.id": onlyLetter(t, letters).ID,
		"leat.dead_letter.handlers": `["send-invoice"]`,
	})
	sameCounts(t, "leat.dead_letters", r.count(t, "leat.dead_letters"), map[string]int64{
		"leat.dead_letter.reason=permanent_error,leat.handler=send-invoice,messaging.system=redis": 2,
		"leat.dead_letter.reason=permanent_error,leat.handler=audit,messaging.system=redis":        1,
		"leat.dead_letter.reason=deserialization_error,messaging.system=redis":                     1,
	})
}

func onlyLetter(t *testing.T, s dlq.Store) dlq.Letter {
	t.Helper()
	var all []dlq.Letter
	for l, err := range s.List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	if len(all) != 1 {
		t.Fatalf("%d letters, want 1", len(all))
	}
	return all[0]
}
