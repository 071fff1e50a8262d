package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

func returning(err error) message.HandlerFunc {
	return func(*message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage("of a failure", nil)}, err
	}
}

func TestDeadLetter_TheLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &graveyard{}
		began := time.Now()
		h := middleware.Chain(
			middleware.DeadLetter{Burier: g, Host: "host-1", Build: "abc"}.Middleware,
			middleware.Retry{MaxRetries: 2, Jitter: middleware.NoJitter}.Middleware,
		)(returning(fmt.Errorf("send: %w", errInk)))
		ctx := middleware.WithHandlerName(t.Context(), "send-invoice")
		ctx = middleware.WithDelivery(ctx, &middleware.Delivery{
			Topic: "orders", Group: "billing", ID: "5-0", Key: "order-1", Partition: 3, Offset: 42,
		})
		msg := newMessage(ctx, "id-1")
		msg.Metadata["dlq_replay_count"] = "2"
		msg.Metadata["dlq_consumer_group"] = "billing"

		produced, err := h(msg)

		if produced != nil || err != nil {
			t.Fatalf("%v, %v; want nil, nil: the message is safe", produced, err)
		}
		if len(g.letters) != 1 {
			t.Fatalf("%d letters, want 1", len(g.letters))
		}
		l := g.letters[0]
		if string(l.Payload) != "payload of id-1" || l.MessageID != "id-1" || l.Key != "order-1" ||
			!maps.Equal(l.Metadata, map[string]string{"event_type": "OrderPaid", "aggregate_id": "order-1"}) {
			t.Errorf("the original is not untouched: %+v", l)
		}
		if l.Reason != dlq.ReasonMaxRetries || l.ErrorMessage != "send: no ink" || l.ErrorType != "*errors.errorString" {
			t.Errorf("reason %q, type %q, text %q", l.Reason, l.ErrorType, l.ErrorMessage)
		}
		if l.Attempts != 3 || !l.FirstFailedAt.Equal(began) || l.LastFailedAt.Sub(began) != 3*time.Second || l.BuriedAt.Sub(began) != 3*time.Second {
			t.Errorf("%d attempts, first %v, last %v, buried %v", l.Attempts, l.FirstFailedAt, l.LastFailedAt, l.BuriedAt)
		}
		if !slices.Equal(l.Handlers, []string{"send-invoice"}) || l.Group != "billing" || l.Replays != 2 || l.Host != "host-1" || l.Build != "abc" {
			t.Errorf("letter %+v", l)
		}
		if want := (dlq.Source{Topic: "orders", ID: "5-0", Partition: 3, Offset: 42}); l.Source != want {
			t.Errorf("source %+v, want %+v", l.Source, want)
		}
	})
}

func TestDeadLetter_ReasonsAndTypes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		reason dlq.Reason
		typ    string
		text   string
	}{
		"plain":       {errInk, dlq.ReasonHandlerError, "*errors.errorString", "no ink"},
		"permanent":   {middleware.Permanent(fmt.Errorf("x: %w", &notDecodedError{})), dlq.ReasonPermanent, "*middleware_test.notDecodedError", "x: bad bytes"},
		"undecodable": {&notDecodedError{true}, dlq.ReasonUndecodable, "*middleware_test.notDecodedError", "bad bytes"},
		"panic":       {&middleware.PanicError{Value: "boom", Stack: []byte("secret stack")}, dlq.ReasonPanic, "*middleware.PanicError", "middleware: handler panicked: boom"},
		"time-out":    {&middleware.TimeoutError{Handler: "h", After: time.Second}, dlq.ReasonTimeout, "*middleware.TimeoutError", `middleware: handler "h": timed out after 1s`},
		"exhausted panic": {
			&middleware.ExhaustedError{Attempts: 2, Err: &middleware.PanicError{Value: "boom"}},
			dlq.ReasonMaxRetries, "*middleware.PanicError", "middleware: handler panicked: boom",
		},
		"joined": {errors.Join(errInk, errGraveyard), dlq.ReasonHandlerError, "*errors.errorString", "no ink\ngraveyard closed"},
	} {
		g := &graveyard{}
		_, err := middleware.DeadLetter{Burier: g}.Middleware(returning(tc.err))(newMessage(t.Context(), "1"))
		if err != nil || len(g.letters) != 1 {
			t.Errorf("%s: %v, %d letters", name, err, len(g.letters))
			continue
		}
		l := g.letters[0]
		if l.Reason != tc.reason || l.ErrorType != tc.typ || l.ErrorMessage != tc.text {
			t.Errorf("%s: reason %q, type %q, text %q; want %q, %q, %q", name, l.Reason, l.ErrorType, l.ErrorMessage, tc.reason, tc.typ, tc.text)
		}
	}
}

func TestDeadLetter_NamesTheHandlersThatFailed(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g := &graveyard{}
	_, err := middleware.DeadLetter{Burier: g, Group: "own", Topic: "named"}.Middleware(returning(fmt.Errorf("dispatch: %w", &middleware.HandlersError{
		Failures: []middleware.HandlerFailure{
			{Handler: "a", Err: middleware.Discard(errInk), Attempts: 9, FirstAt: at.Add(-time.Hour), LastAt: at.Add(time.Hour)},
			{Handler: "b", Err: &middleware.ExhaustedError{Attempts: 4, Err: errInk}, Attempts: 4, FirstAt: at, LastAt: at.Add(time.Second)},
			{Handler: "c", Err: middleware.Permanent(errGraveyard), Attempts: 1, FirstAt: at.Add(2 * time.Second), LastAt: at.Add(2 * time.Second)},
		},
	})))(newMessage(middleware.WithDelivery(t.Context(), &middleware.Delivery{Topic: "orders", Group: "theirs"}), "1"))
	if err != nil || len(g.letters) != 1 {
		t.Fatalf("%v, %d letters", err, len(g.letters))
	}
	l := g.letters[0]
	if !slices.Equal(l.Handlers, []string{"b", "c"}) {
		t.Errorf("handlers %v; want b and c, because a wants to forget the message", l.Handlers)
	}
	if l.Attempts != 4 || !l.FirstFailedAt.Equal(at) || !l.LastFailedAt.Equal(at.Add(2*time.Second)) {
		t.Errorf("%d attempts from %v to %v", l.Attempts, l.FirstFailedAt, l.LastFailedAt)
	}
	if l.Reason != dlq.ReasonMaxRetries || l.ErrorMessage != "b: no ink; c: graveyard closed" {
		t.Errorf("reason %q, text %q", l.Reason, l.ErrorMessage)
	}
	if l.Group != "own" || l.Source.Topic != "named" {
		t.Errorf("group %q, topic %q; want those of the configuration", l.Group, l.Source.Topic)
	}
}

func TestDeadLetter_Malformed(t *testing.T) {
	t.Parallel()
	g := &graveyard{}
	handler, runs := failing(0, nil)
	ctx := middleware.WithDelivery(middleware.WithHandlerName(t.Context(), "h"), &middleware.Delivery{Topic: "orders", Malformed: errInk})
	_, err := middleware.DeadLetter{Burier: g}.Middleware(handler)(newMessage(ctx, "1"))
	if err != nil || *runs != 0 || len(g.letters) != 1 {
		t.Fatalf("%v, %d runs, %d letters; want the letter without a run", err, *runs, len(g.letters))
	}
	if l := g.letters[0]; l.Reason != dlq.ReasonUndecodable || l.Handlers != nil || l.Attempts != 0 || l.ErrorMessage != "no ink" || l.ErrorType != "*errors.errorString" {
		t.Errorf("letter %+v, want no handler blamed", l)
	}
}

func TestDeadLetter_WhatIsNotBuried(t *testing.T) {
	t.Parallel()
	dead, cancel := context.WithCancelCause(t.Context())
	cancel(errDrain)
	for name, tc := range map[string]struct {
		ctx        context.Context //nolint:containedctx // the input of a case
		err        error
		handedBack bool
		discarded  bool
	}{
		"success":                   {t.Context(), nil, false, false},
		"success at shutdown":       {dead, nil, false, false},
		"discard":                   {t.Context(), middleware.Discard(errInk), false, true},
		"discard at shutdown":       {dead, middleware.Discard(errInk), false, true},
		"all handlers discard":      {t.Context(), &middleware.HandlersError{Failures: []middleware.HandlerFailure{{Err: middleware.Discard(errInk)}}}, false, true},
		"handed back":               {t.Context(), fmt.Errorf("%w: x", middleware.ErrHandedBack), true, false},
		"cancelled at shutdown":     {dead, context.Canceled, true, false},
		"any error at shutdown":     {dead, errInk, true, false},
		"a time-out at shutdown":    {dead, &middleware.TimeoutError{}, true, false},
		"one handler undecided":     {dead, &middleware.HandlersError{Failures: []middleware.HandlerFailure{{Err: middleware.Permanent(errInk)}, {Err: errInk}}}, true, false},
		"one handler was cut short": {t.Context(), &middleware.HandlersError{Failures: []middleware.HandlerFailure{{Err: middleware.Permanent(errInk)}, {Err: middleware.ErrHandedBack}}}, true, false},
	} {
		g := &graveyard{}
		discarded := false
		_, err := middleware.DeadLetter{
			Burier:      g,
			OnDiscarded: func(context.Context, *message.Message, error) { discarded = true },
		}.Middleware(returning(tc.err))(newMessage(tc.ctx, "1"))
		if g.tries != 0 {
			t.Errorf("%s: became a letter", name)
		}
		if errors.Is(err, middleware.ErrHandedBack) != tc.handedBack || (err != nil) != tc.handedBack || discarded != tc.discarded {
			t.Errorf("%s: %v, discarded %v", name, err, discarded)
		}
	}
}

// What was decided is buried although the message's context is dead: a
// shutdown, or a time-out in the wrong place. The burial has a live context.
func TestDeadLetter_BuriesAtShutdownAndAfterATimeout(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"exhausted":   &middleware.ExhaustedError{Attempts: 4, Err: errInk},
		"permanent":   middleware.Permanent(errInk),
		"undecodable": &notDecodedError{true},
		"handlers":    &middleware.HandlersError{Failures: []middleware.HandlerFailure{{Handler: "a", Err: middleware.Permanent(errInk)}}},
	} {
		dead, cancel := context.WithCancelCause(t.Context())
		cancel(errDrain)
		g := &graveyard{}
		_, got := middleware.DeadLetter{Burier: g}.Middleware(returning(err))(newMessage(dead, "1"))
		if got != nil || len(g.letters) != 1 || g.ctxErrs[0] != nil {
			t.Errorf("%s: %v, %d letters, the burial's context %v", name, got, len(g.letters), g.ctxErrs)
		}
	}
}

func TestDeadLetter_TriesUntilTheLetterIsSafe(t *testing.T) {
	t.Parallel()
	for _, panics := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := &graveyard{fail: 20, panics: panics}
			var out strings.Builder
			var told []int
			var buried dlq.Letter
			began := time.Now()
			_, err := middleware.DeadLetter{
				Burier: g, Logger: slog.New(slog.NewTextHandler(&out, nil)),
				OnBuryError: func(_ context.Context, _ dlq.Letter, attempt int, err error) {
					told = append(told, attempt)
					if err == nil || errors.Is(err, errGraveyard) == panics {
						t.Errorf("OnBuryError got %v", err)
					}
					panic("hook")
				},
				OnBuried: func(_ context.Context, l dlq.Letter) { buried = l; panic("hook") },
			}.Middleware(returning(errInk))(newMessage(t.Context(), "1"))
			if err != nil || g.tries != 21 || len(g.letters) != 1 || len(told) != 20 || told[19] != 20 {
				t.Errorf("%v after %d tries, %d letters, told %v", err, g.tries, len(g.letters), told)
			}
			// 100 ms doubling to 30 s: nine waits make 51.1 s, eleven of 30 s follow; jitter is a tenth.
			if took := time.Since(began); took < 330*time.Second || took > 430*time.Second {
				t.Errorf("20 waits took %v", took)
			}
			if buried.ID != "letter-1" {
				t.Errorf("OnBuried got %+v", buried)
			}
			if log := out.String(); strings.Count(log, "burial failed") != 20 || strings.Count(log, "message buried") != 1 || !strings.Contains(log, "event_id=1") || strings.Contains(log, "payload of") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestDeadLetter_HandsBackWhenTheContextEndsWhileItTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour, func() { cancel(errDrain) })
		g := &graveyard{fail: -1}
		began := time.Now()
		_, err := middleware.DeadLetter{Burier: g}.Middleware(returning(middleware.Permanent(errInk)))(newMessage(ctx, "1"))
		if !errors.Is(err, middleware.ErrHandedBack) || !errors.Is(err, errDrain) || !errors.Is(err, errInk) || !errors.Is(err, errGraveyard) {
			t.Errorf("err = %v, want handed back, with all reasons", err)
		}
		if took := time.Since(began); took != time.Hour || g.tries < 100 {
			t.Errorf("%d tries in %v", g.tries, took)
		}
	})
}

type slowBurier struct{}

func (slowBurier) Bury(ctx context.Context, _ dlq.Letter) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func TestDeadLetter_OneTryIsLimitedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errDrain)
		began := time.Now()
		_, err := middleware.DeadLetter{Burier: slowBurier{}, BuryTimeout: 3 * time.Second}.Middleware(returning(middleware.Permanent(errInk)))(newMessage(ctx, "1"))
		if took := time.Since(began); took != 3*time.Second || !errors.Is(err, middleware.ErrHandedBack) {
			t.Errorf("%v after %v, want handed back after one try of 3s", err, took)
		}
	})
}

func TestDeadLetter_Disabled(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	var dropped []dlq.Letter
	_, err := middleware.DeadLetter{
		Disabled: true, Logger: slog.New(slog.NewTextHandler(&out, nil)),
		OnDropped: func(_ context.Context, l dlq.Letter) { dropped = append(dropped, l); panic("hook") },
	}.Middleware(returning(errInk))(newMessage(t.Context(), "id-1"))
	if err != nil || len(dropped) != 1 || dropped[0].MessageID != "id-1" {
		t.Errorf("%v, dropped %+v", err, dropped)
	}
	if !strings.Contains(out.String(), "level=ERROR") || !strings.Contains(out.String(), "event_id=id-1") {
		t.Errorf("log:\n%s", out.String())
	}
}

func TestDeadLetter_WithoutBurierLosesNothing(t *testing.T) {
	t.Parallel()
	_, err := middleware.DeadLetter{}.Middleware(returning(errInk))(newMessage(t.Context(), "1"))
	if !errors.Is(err, errInk) {
		t.Errorf("err = %v, want the handler's", err)
	}
	problems := middleware.DeadLetter{BuryTimeout: -1}.Validate()
	if problems == nil || !strings.Contains(problems.Error(), "DeadLetter.Burier: ") || !strings.Contains(problems.Error(), "DeadLetter.BuryTimeout: ") {
		t.Errorf("validate: %v", problems)
	}
	if err := (middleware.DeadLetter{Disabled: true}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (middleware.DeadLetter{Burier: &graveyard{}}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestDeadLetter_RestoresTheContext(t *testing.T) {
	t.Parallel()
	g := &graveyard{}
	msg := newMessage(t.Context(), "1")
	_, err := middleware.DeadLetter{Burier: g}.Middleware(func(m *message.Message) ([]*message.Message, error) {
		ctx, cancel := context.WithCancel(m.Context()) // as Watermill's Timeout leaves it
		cancel()
		m.SetContext(ctx)
		return nil, ctx.Err()
	})(msg)
	if err != nil || len(g.letters) != 1 || msg.Context() != t.Context() {
		t.Errorf("%v, %d letters; want the letter: the message's own context is alive", err, len(g.letters))
	}
}
