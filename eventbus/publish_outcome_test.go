package eventbus_test

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
)

func TestPublish_TellsTheOutcomeOfEachEvent(t *testing.T) {
	boom := errors.New("boom")
	three := func() []eventbus.Event { return []eventbus.Event{created("a"), created("b"), created("c")} }
	t.Run("of a plain publisher, one at a time", func(t *testing.T) {
		pub := &scripted{do: func(n int, _ *message.Message) error {
			if n == 1 {
				return boom
			}
			return nil
		}}
		outcomes(t, open(t, pub).Publish(t.Context(), three()...), boom, eventbus.Confirmed, eventbus.Unknown, eventbus.Refused)
	})
	t.Run("of a batching publisher, as it says", func(t *testing.T) {
		pub := &batching{errs: []error{boom, nil, fmt.Errorf("%w: cut", eventbus.ErrUnknown)}}
		bus := open(t, pub)
		outcomes(t, bus.Publish(t.Context(), three()...), boom, eventbus.Refused, eventbus.Confirmed, eventbus.Unknown)
		if s := bus.Stats(); s.EventsPublished != 1 || s.PublishErrors != 2 || s.LastErrorAt.IsZero() {
			t.Errorf("stats = %+v", s)
		}
	})
}

func outcomes(t *testing.T, err error, cause error, want ...eventbus.Outcome) {
	t.Helper()
	var pe *eventbus.PublishError
	if !errors.As(err, &pe) || !errors.Is(err, cause) {
		t.Fatalf("err = %v, want a *PublishError with %v", err, cause)
	}
	for i, r := range pe.Results {
		if r.Outcome != want[i] || (r.Err == nil) != (r.Outcome == eventbus.Confirmed) {
			t.Errorf("event %d: %v (%v), want %v", i, r.Outcome, r.Err, want[i])
		}
	}
	if !strings.Contains(err.Error(), "1 confirmed, 1 refused, 1 unknown") {
		t.Errorf("text = %q", err)
	}
}

// A publisher that knows no context and hangs: the caller leaves at its
// deadline, and is told the truth.
func TestPublish_EndsAtItsDeadlineWhateverThePublisherDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		pub := &scripted{do: func(int, *message.Message) error { <-release; return nil }}
		bus := open(t, pub)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()

		err := bus.Publish(ctx, created("a"), created("b"))

		if took := time.Since(start); took != time.Second {
			t.Errorf("returned after %v, want 1s", took)
		}
		var pe *eventbus.PublishError
		if !errors.As(err, &pe) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("err = %v", err)
		}
		if pe.Results[0].Outcome != eventbus.Unknown || pe.Results[1].Outcome != eventbus.Refused {
			t.Errorf("outcomes %v, %v; want unknown, refused", pe.Results[0].Outcome, pe.Results[1].Outcome)
		}
		close(release)
		synctest.Wait()
	})
}

type explosive struct{}

func TestPublish_PanicWhileEncodingIsARefusal(t *testing.T) {
	reg := eventbus.NewRegistry()
	if err := eventbus.Register[bomb](reg, "Bomb"); err != nil {
		t.Fatal(err)
	}
	bus, err := eventbus.New(eventbus.Config{Publisher: &scripted{}, Registry: reg, Topic: "orders", DrainTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for name, publish := range map[string]func(context.Context, ...eventbus.Event) error{"publish": bus.Publish, "background": bus.PublishInBackground} {
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("%s panicked: %v", name, r)
				}
			}()
			err := publish(t.Context(), &bomb{Base: eventbus.NewBase("a")})
			var pe *eventbus.PublishError
			if !errors.As(err, &pe) || !errors.Is(err, eventbus.ErrInvalidEvent) {
				t.Errorf("%s: err = %v", name, err)
			}
		}()
	}
	if _, err := bus.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A batching publisher that forgets messages, or panics, has confirmed nothing
// of them.
func TestPublish_WhatABatchingPublisherDoesNotAnswerForIsUnknown(t *testing.T) {
	boom := errors.New("boom")
	for name, pub := range map[string]*batching{
		"no answers": {errs: []error{}}, "one of two": {errs: []error{boom}}, "only good ones": {errs: []error{nil}},
		"panics": {scripted: scripted{do: func(int, *message.Message) error { panic("boom") }}},
	} {
		t.Run(name, func(t *testing.T) {
			var pe *eventbus.PublishError
			if err := open(t, pub).Publish(t.Context(), created("a"), created("b")); !errors.As(err, &pe) || pe.Results[1].Outcome != eventbus.Unknown {
				t.Errorf("err = %v", err)
			}
		})
	}
}
