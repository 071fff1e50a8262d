package eventbustest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/middleware"
)

var noRetries = middleware.Retry{MaxRetries: middleware.NoRetries}

// told is a testing.TB that remembers what it was told, and ends the goroutine
// that fails as the real one does.
type told struct {
	testing.TB
	texts []string
}

func (f *told) Helper() {}
func (f *told) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func (f *told) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(f)
}
func (f *told) Error(args ...any) { f.texts = append(f.texts, fmt.Sprint(args...)) }

// complaints runs a check that may fail.
func complaints(t *testing.T, check func(testing.TB)) string {
	t.Helper()
	f := &told{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
		}()
		check(f)
	}()
	return strings.Join(f.texts, "\n")
}

func order(n int) *OrderCreated {
	return &OrderCreated{Base: eventbus.NewBase("order-1"), CustomerID: fmt.Sprint(n)}
}

func TestRecorder_WantTellsWhatCameInstead(t *testing.T) {
	var r eventbustest.Recorder
	a, b := order(1), order(2)
	for _, e := range []eventbus.Event{a, b} {
		if err := r.Handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		check func(testing.TB)
		fails bool
	}{
		"in order":           {func(t testing.TB) { r.Want(t, a, b) }, false},
		"in another order":   {func(t testing.TB) { r.Want(t, b, a) }, true},
		"in any order":       {func(t testing.TB) { r.WantAnyOrder(t, b, a) }, false},
		"another event":      {func(t testing.TB) { r.WantAnyOrder(t, a, order(3)) }, true},
		"one of two":         {func(t testing.TB) { r.Want(t, a) }, true},
		"one twice":          {func(t testing.TB) { r.WantAnyOrder(t, a, a) }, true},
		"for one that came":  {func(t testing.TB) { r.WaitFor(t, b) }, false},
		"the number of them": {func(t testing.TB) { r.Wait(t, 2) }, false},
	} {
		got := complaints(t, c.check)
		if (got != "") != c.fails {
			t.Errorf("%s: complaints %q, want some: %v", what, got, c.fails)
		}
		if c.fails && !strings.Contains(got, a.EventID) {
			t.Errorf("%s: the complaint does not tell what was recorded: %s", what, got)
		}
	}
	if r.Count(a) != 1 || r.Len() != 2 || len(eventbustest.EventsOf[OrderCreated](&r)) != 2 {
		t.Errorf("count %d, len %d, typed %d", r.Count(a), r.Len(), len(eventbustest.EventsOf[OrderCreated](&r)))
	}
	r.Reset()
	if r.Len() != 0 {
		t.Errorf("%d events after Reset", r.Len())
	}
}

func TestRecorder_WaitsUntilItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := eventbustest.Recorder{Timeout: 3 * time.Second}
		first := order(1)
		go func() {
			<-time.After(time.Second)
			_ = r.Handle(t.Context(), first)
		}()
		began := time.Now()
		r.Want(t, first)
		if took := time.Since(began); took != time.Second {
			t.Errorf("waited %v, want 1s", took)
		}
		began = time.Now()
		got := complaints(t, func(t testing.TB) { r.Wait(t, 2) })
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("gave up after %v, want 3s", took)
		}
		if !strings.Contains(got, "1 events within 3s, want 2") || !strings.Contains(got, first.EventID) {
			t.Errorf("complaint %q, want one that tells what was received so far", got)
		}
	})
}

func TestRecorder_DoDecides(t *testing.T) {
	planned := errors.New("planned")
	r := eventbustest.Recorder{Do: func(context.Context, eventbus.Event) error { return planned }}
	if err := r.Handle(t.Context(), order(1)); !errors.Is(err, planned) || r.Len() != 1 {
		t.Errorf("Handle = %v with %d recorded, want the planned error and 1", err, r.Len())
	}
}

func TestPublisher_RecordsUpToTheFirstFailure(t *testing.T) {
	planned := errors.New("planned")
	p := &eventbustest.Publisher{Fail: func(_ string, m *message.Message) error {
		if m.UUID == "2" {
			return planned
		}
		return nil
	}}
	err := p.Publish("topic", message.NewMessage("1", nil), message.NewMessage("2", nil), message.NewMessage("3", nil))
	if !errors.Is(err, planned) || p.Want(t, "topic", 1)[0].UUID != "1" || len(p.Messages("other")) != 0 {
		t.Errorf("error %v, messages %v; want the planned one after the first message", err, p.Messages("topic"))
	}
	if got := complaints(t, func(t testing.TB) { p.Want(t, "topic", 2) }); got == "" {
		t.Error("Want of two messages did not complain about one")
	}
	if p.Closed() {
		t.Error("closed before Close")
	}
	if err := p.Close(); err != nil || !p.Closed() {
		t.Errorf("Close = %v, Closed = %v", err, p.Closed())
	}
}
