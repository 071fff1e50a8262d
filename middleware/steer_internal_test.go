package middleware

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
)

type unreadable bool

func (unreadable) Error() string       { return "unreadable" }
func (u unreadable) Undecodable() bool { return bool(u) }

func TestClassify(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	several := func(errs ...error) error {
		var e HandlersError
		for _, err := range errs {
			e.Failures = append(e.Failures, HandlerFailure{Handler: "h", Err: err})
		}
		return &e
	}
	back := fmt.Errorf("%w: %w", ErrHandedBack, plain)
	for name, tc := range map[string]struct {
		err  error
		want verdict
	}{
		"nil":                           {nil, again},
		"plain":                         {plain, again},
		"retry after":                   {RetryAfter(plain, 1), again},
		"permanent":                     {Permanent(plain), final},
		"wrapped twice":                 {fmt.Errorf("a: %w", fmt.Errorf("b: %w", Permanent(plain))), final},
		"backoff's permanent":           {fmt.Errorf("a: %w", backoff.Permanent(plain)), final},
		"discard":                       {Discard(plain), discarded},
		"exhausted":                     {&ExhaustedError{Err: plain}, final},
		"undecodable":                   {fmt.Errorf("a: %w", unreadable(true)), undecodable},
		"undecodable says no":           {unreadable(false), again},
		"handed back":                   {back, handedBack},
		"joined, marked second":         {errors.Join(plain, Permanent(plain)), final},
		"joined, none marked":           {errors.Join(plain, plain), again},
		"outermost wins: discard":       {Discard(Permanent(plain)), discarded},
		"outermost wins: permanent":     {Permanent(fmt.Errorf("x: %w", Discard(plain))), final},
		"outermost wins: not handed":    {Permanent(back), final},
		"a panic with a marked value":   {&PanicError{Value: Permanent(plain)}, final},
		"a time-out around a mark":      {&TimeoutError{Err: plain}, again},
		"handlers: all final":           {several(Permanent(plain), &ExhaustedError{Err: plain}), final},
		"handlers: one may try again":   {several(Permanent(plain), plain), again},
		"handlers: one handed back":     {several(Permanent(plain), back, plain), handedBack},
		"handlers: all discard":         {several(Discard(plain), Discard(plain)), discarded},
		"handlers: discard and final":   {several(Discard(plain), Permanent(plain)), final},
		"handlers: undecodable":         {several(unreadable(true), Permanent(plain)), undecodable},
		"handlers: none":                {several(), again},
		"handlers, wrapped":             {fmt.Errorf("dispatch: %w", several(Permanent(plain), plain)), again},
		"handlers under permanent":      {Permanent(several(plain)), final},
		"handlers: nested undecided":    {several(several(Permanent(plain), plain)), again},
		"attempts counted around final": {&triedError{attempts: 2, err: Permanent(plain)}, final},
	} {
		if got := classify(tc.err); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
		wantFinal := tc.want == final || tc.want == discarded || tc.want == undecodable
		if IsFinal(tc.err) != wantFinal || IsDiscard(tc.err) != (tc.want == discarded) {
			t.Errorf("%s: IsFinal %v, IsDiscard %v", name, IsFinal(tc.err), IsDiscard(tc.err))
		}
	}
}

func TestSteering_NilStaysNilAndTextStaysText(t *testing.T) {
	t.Parallel()
	if Permanent(nil) != nil || Discard(nil) != nil || RetryAfter(nil, time.Second) != nil {
		t.Error("a mark made an error of nil")
	}
	plain := errors.New("plain")
	for _, err := range []error{Permanent(plain), Discard(plain), RetryAfter(plain, time.Second)} {
		if err.Error() != "plain" || !errors.Is(err, plain) {
			t.Errorf("%T: text %q", err, err)
		}
	}
	if _, ok := RetryDelay(plain); ok {
		t.Error("a plain error asks for a wait")
	}
	if d, ok := RetryDelay(fmt.Errorf("x: %w", RetryAfter(plain, time.Minute))); !ok || d != time.Minute {
		t.Errorf("wait %v, %v", d, ok)
	}
	if d, ok := RetryDelay(&backoff.RetryAfterError{Duration: -1}); !ok || d != 0 {
		t.Errorf("negative wait of backoff: %v, %v", d, ok)
	}
}
