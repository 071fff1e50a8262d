package middleware_test

import (
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

func explode(value any) message.HandlerFunc {
	return func(*message.Message) ([]*message.Message, error) { panic(value) }
}

func TestRecover_StackToTheLogAndNotIntoTheText(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	h := middleware.Recover{Logger: slog.New(slog.NewTextHandler(&out, nil))}.Middleware(explode("boom"))
	msg := newMessage(middleware.WithHandlerName(t.Context(), "send-invoice"), "1")

	produced, err := h(msg)

	var panicked *middleware.PanicError
	if !errors.As(err, &panicked) || panicked.Value != "boom" || produced != nil {
		t.Fatalf("%v, %v; want a *PanicError", produced, err)
	}
	if err.Error() != "middleware: handler panicked: boom" {
		t.Errorf("text %q, want no stack in it", err)
	}
	if !strings.Contains(string(panicked.Stack), "explode") {
		t.Errorf("the stack does not show who panicked:\n%s", panicked.Stack)
	}
	for _, want := range []string{"level=ERROR", "handler panicked", "explode", "event_id=1", "event_type=OrderPaid", "handler=send-invoice", "attempt=1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log does not have %q:\n%s", want, out.String())
		}
	}
}

func TestRecover_Values(t *testing.T) {
	t.Parallel()
	h := func(value any) error {
		_, err := middleware.Recover{}.Middleware(explode(value))(newMessage(t.Context(), "1"))
		return err
	}
	if err := h(errInk); !errors.Is(err, errInk) {
		t.Errorf("panic with an error: %v, want it to wrap that", err)
	}
	var nilPanic *runtime.PanicNilError
	if err := h(nil); !errors.As(err, &nilPanic) {
		t.Errorf("panic with nil: %v", err)
	}
	if err := h(42); err == nil || errors.Unwrap(err) != nil {
		t.Errorf("panic with a number: %v", err)
	}
	if _, err := (middleware.Recover{}).Middleware(succeed)(newMessage(t.Context(), "1")); err != nil {
		t.Error(err)
	}
	if err := (middleware.Recover{}).Validate(); err != nil {
		t.Error(err)
	}
}

// brittle is the classic mistake: a nil pointer of it is an error that is not
// nil, and whose methods panic.
type brittle struct{ why string }

func (e *brittle) Error() string { return e.why }

func failBrittle(*message.Message) ([]*message.Message, error) {
	var e *brittle
	return nil, e
}

func TestRecover_AnErrorThatPanicsIsAPanic(t *testing.T) {
	t.Parallel()
	_, err := middleware.Recover{}.Middleware(failBrittle)(newMessage(t.Context(), "1"))
	var panicked *middleware.PanicError
	if !errors.As(err, &panicked) || !strings.Contains(string(panicked.Stack), "brittle") {
		t.Fatalf("%T; want a *PanicError with the stack of its Error method", err)
	}
}

// Without a Recover inside, such an error must not keep its message from being
// buried either.
func TestDeadLetter_AnErrorThatPanicsIsBuried(t *testing.T) {
	t.Parallel()
	g := &graveyard{}
	if _, err := (middleware.DeadLetter{Burier: g}).Middleware(failBrittle)(newMessage(t.Context(), "1")); err != nil || len(g.letters) != 1 {
		t.Fatalf("err %v, %d letters, want one", err, len(g.letters))
	}
	if l := g.letters[0]; l.ErrorType != "*middleware_test.brittle" || !strings.Contains(l.ErrorMessage, "panicked") {
		t.Errorf("type %q, text %q", l.ErrorType, l.ErrorMessage)
	}
}

// The first time nothing can be returned, and the message is nacked; from then on
// it is an error.
func TestRecover_HandlerThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	h := middleware.Recover{Logger: slog.New(slog.NewTextHandler(&out, nil))}.Middleware(func(*message.Message) ([]*message.Message, error) {
		runtime.Goexit()
		return nil, nil
	})
	msg := newMessage(t.Context(), "1")
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- !returned }()
		_, _ = h(msg)
		returned = true
	}()
	if !<-ended {
		t.Error("the first time it returned")
	}
	select {
	case <-msg.Nacked():
	default:
		t.Error("the message was left unsettled")
	}
	again := newMessage(t.Context(), "1")
	produced, err := h(again)
	var exit *middleware.GoexitError
	if !errors.As(err, &exit) || produced != nil || !strings.Contains(string(exit.Stack), "Goexit") || strings.Contains(err.Error(), "goroutine 1") {
		t.Errorf("%v, %v, want a *GoexitError with its stack", produced, err)
	}
	if !again.Ack() {
		t.Error("the message is not the caller's to settle")
	}
	if n := strings.Count(out.String(), "msg=\"handler ended its goroutine\""); n != 2 {
		t.Errorf("%d lines in the log, want one for each:\n%s", n, out.String())
	}
}
