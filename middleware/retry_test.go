package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"

	"github.com/leat-go/leat/middleware"
)

func TestRetry_AttemptsAndWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		var told []middleware.RetryInfo
		began := time.Now()
		h := middleware.Retry{
			MaxRetries: 5, BaseDelay: time.Second, MaxDelay: 5 * time.Second, Jitter: middleware.NoJitter,
			OnRetry: func(_ *message.Message, info middleware.RetryInfo) { told = append(told, info) },
		}.Middleware(func(*message.Message) ([]*message.Message, error) {
			at = append(at, time.Since(began))
			return nil, errInk
		})

		_, err := h(newMessage(t.Context(), "1"))

		var gone *middleware.ExhaustedError
		if !errors.As(err, &gone) || !errors.Is(err, errInk) || gone.Attempts != 6 {
			t.Fatalf("err = %v, want an *ExhaustedError after 6 attempts", err)
		}
		if want := []time.Duration{0, 1e9, 3e9, 7e9, 12e9, 17e9}; !slices.Equal(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
		if !gone.FirstAt.Equal(began) || gone.LastAt.Sub(began) != 17*time.Second {
			t.Errorf("failed first at %v, last at %v", gone.FirstAt.Sub(began), gone.LastAt.Sub(began))
		}
		var delays []time.Duration
		for i, info := range told {
			if info.Attempt != i+1 || !errors.Is(info.Err, errInk) {
				t.Errorf("OnRetry %d: %+v", i, info)
			}
			delays = append(delays, info.Delay)
		}
		if want := []time.Duration{1e9, 2e9, 4e9, 5e9, 5e9}; !slices.Equal(delays, want) {
			t.Errorf("OnRetry told of waits %v, want %v", delays, want)
		}
	})
}

func TestRetry_SucceedsInTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := message.NewMessage("out", nil)
		flaky, runs := failing(2, errInk)
		h := middleware.Retry{}.Middleware(func(m *message.Message) ([]*message.Message, error) {
			if _, err := flaky(m); err != nil {
				return []*message.Message{message.NewMessage("of a failure", nil)}, err
			}
			return []*message.Message{out}, nil
		})
		produced, err := h(newMessage(t.Context(), "1"))
		if err != nil || *runs != 3 || len(produced) != 1 || produced[0] != out {
			t.Errorf("%d runs, produced %v, %v; want 3, what the last one produced, nil", *runs, produced, err)
		}
	})
}

func TestRetry_FinalErrorsAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"permanent":            middleware.Permanent(errInk),
		"permanent, wrapped":   fmt.Errorf("send: %w", middleware.Permanent(errInk)),
		"permanent of backoff": backoff.Permanent(errInk),
		"discard":              middleware.Discard(errInk),
		"undecodable":          fmt.Errorf("%w: %w", &notDecodedError{true}, errInk),
		"exhausted inside":     &middleware.ExhaustedError{Attempts: 3, Err: errInk},
		"handed back inside":   fmt.Errorf("%w: %w", middleware.ErrHandedBack, errInk),
		"all handlers final": &middleware.HandlersError{Failures: []middleware.HandlerFailure{
			{Handler: "a", Err: middleware.Permanent(errInk)}, {Handler: "b", Err: middleware.Discard(errInk)},
		}},
		"permanent outside RetryAfter": middleware.Permanent(middleware.RetryAfter(errInk, 0)),
	} {
		handler, runs := failing(100, err)
		_, got := middleware.Retry{}.Middleware(handler)(newMessage(t.Context(), "1"))
		if *runs != 1 || !errors.Is(got, errInk) {
			t.Errorf("%s: %d runs, %v; want 1 run and its error", name, *runs, got)
		}
		var gone *middleware.ExhaustedError
		if errors.As(got, &gone) != (name == "exhausted inside") {
			t.Errorf("%s: came out as %T", name, got)
		}
	}
}

func TestRetry_OthersAre(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"plain":             errInk,
		"decodable":         &notDecodedError{false},
		"time-out":          context.DeadlineExceeded, // somebody's, not the message's
		"cancelled inside":  context.Canceled,
		"panic":             &middleware.PanicError{Value: "x"},
		"one handler final": &middleware.HandlersError{Failures: []middleware.HandlerFailure{{Err: middleware.Permanent(errInk)}, {Err: errInk}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			handler, runs := failing(100, err)
			_, got := middleware.Retry{}.Middleware(handler)(newMessage(t.Context(), "1"))
			var gone *middleware.ExhaustedError
			if *runs != 4 || !errors.As(got, &gone) {
				t.Errorf("%s: %d runs, %v; want 4 and an *ExhaustedError", name, *runs, got)
			}
		})
	}
}

func TestRetry_RetryAfter(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want time.Duration // for three retries
	}{
		"ours":       {middleware.RetryAfter(errInk, 7*time.Second), 21 * time.Second},
		"wrapped":    {fmt.Errorf("busy: %w", middleware.RetryAfter(errInk, time.Minute)), 3 * time.Minute},
		"at once":    {middleware.RetryAfter(errInk, 0), 0},
		"negative":   {middleware.RetryAfter(errInk, -time.Hour), 0},
		"longer":     {middleware.RetryAfter(errInk, 24*time.Hour), 72 * time.Hour}, // MaxDelay does not cap it
		"of backoff": {backoff.RetryAfter(5), 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			handler, runs := failing(100, tc.err)
			_, err := middleware.Retry{}.Middleware(handler)(newMessage(t.Context(), "1"))
			var gone *middleware.ExhaustedError
			if took := time.Since(began); took != tc.want || *runs != 4 || !errors.As(err, &gone) {
				t.Errorf("%s: %d runs in %v, %v; want 4 in exactly %v", name, *runs, took, err, tc.want)
			}
		})
	}
}

func TestRetry_ContextOfAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		msg := newMessage(t.Context(), "1")
		_, err := middleware.Retry{}.Middleware(func(m *message.Message) ([]*message.Message, error) {
			if m.Context().Err() != nil {
				t.Error("an attempt got the context that the one before had left dead")
			}
			attempts = append(attempts, middleware.Attempt(m.Context()))
			ctx, cancel := context.WithCancel(m.Context())
			cancel()
			m.SetContext(ctx)
			return nil, errInk
		})(msg)
		if want := []int{1, 2, 3, 4}; !slices.Equal(attempts, want) || err == nil {
			t.Errorf("attempts %v, want %v", attempts, want)
		}
		if msg.Context() != t.Context() {
			t.Error("the message has another context than before")
		}
	})
}

// One Retry, many messages at once: each has its own count and its own waits.
func TestRetry_StateIsPerMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const messages = 100
		var runs [messages]int // each touched by one message only
		h := middleware.Retry{MaxRetries: 4, BaseDelay: time.Second, Jitter: middleware.NoJitter}.Middleware(
			func(m *message.Message) ([]*message.Message, error) {
				n, err := strconv.Atoi(m.UUID)
				if err != nil {
					return nil, err
				}
				if runs[n]++; runs[n] <= n%6 { // five failures are one too many
					return nil, errInk
				}
				return nil, nil
			})
		var wg sync.WaitGroup
		began := time.Now()
		for n := range messages {
			wg.Go(func() {
				_, err := h(newMessage(t.Context(), strconv.Itoa(n)))
				var gone *middleware.ExhaustedError
				if errors.As(err, &gone) != (n%6 == 5) {
					t.Errorf("message %d: %v", n, err)
				}
				waits := []time.Duration{0, 1e9, 3e9, 7e9, 15e9, 15e9}[n%6]
				if took := time.Since(began); took != waits || runs[n] != min(n%6, 4)+1 {
					t.Errorf("message %d: %d runs in %v, want %d in %v", n, runs[n], took, min(n%6, 4)+1, waits)
				}
			})
		}
		wg.Wait()
	})
}

func TestRetry_KeepsTheCountOfAFinalError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		runs := 0
		_, err := middleware.Retry{Jitter: middleware.NoJitter}.Middleware(func(*message.Message) ([]*message.Message, error) {
			if runs++; runs == 3 {
				return nil, middleware.Permanent(errInk)
			}
			return nil, errors.New("busy")
		})(newMessage(t.Context(), "1"))
		f := middleware.NewHandlerFailure("h", err)
		if f.Attempts != 3 || !f.FirstAt.Equal(began) || f.LastAt.Sub(began) != 3*time.Second || !middleware.IsFinal(err) || err.Error() != errInk.Error() {
			t.Errorf("failure %+v, want the third attempt, after 3s", f)
		}
	})
}

func TestRetry_HookPanicHarmsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		handler, runs := failing(1, errInk)
		_, err := middleware.Retry{
			OnRetry: func(*message.Message, middleware.RetryInfo) { panic("hook") },
			Logger:  slog.New(slog.NewTextHandler(&out, nil)),
		}.Middleware(handler)(newMessage(t.Context(), "1"))
		if err != nil || *runs != 2 {
			t.Errorf("%d runs, %v; want 2, nil", *runs, err)
		}
		for _, want := range []string{"hook panicked", "attempt failed, will retry", "event_id=1", "event_type=OrderPaid", "attempt=1", `error="no ink"`} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the log does not have %q:\n%s", want, out.String())
			}
		}
		if strings.Contains(out.String(), "payload of") {
			t.Errorf("the log has the payload:\n%s", out.String())
		}
	})
}

func TestRetry_SuccessCostsNoAllocation(t *testing.T) {
	h := middleware.Retry{}.Middleware(succeed)
	msg := newMessage(t.Context(), "1")
	if n := testing.AllocsPerRun(1000, func() { _, _ = h(msg) }); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
}

func TestRetry_ValidateTellsEverything(t *testing.T) {
	t.Parallel()
	err := middleware.Retry{MaxRetries: -2, BaseDelay: -1, MaxDelay: -1, Multiplier: 0.5, Jitter: 2}.Validate()
	lines := strings.Split(fmt.Sprint(err), "\n")
	for i, field := range []string{"MaxRetries", "BaseDelay", "MaxDelay", "Multiplier", "Jitter"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], "middleware: Retry."+field+": must be ") {
			t.Errorf("line %d of %q does not tell of %s", i, lines, field)
		}
	}
	for _, bad := range []middleware.Retry{
		{BaseDelay: time.Minute, MaxDelay: time.Second}, {Multiplier: math.NaN()}, {Multiplier: math.Inf(1)}, {Jitter: math.NaN()}, {Jitter: -0.5},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v was not refused", bad)
		}
	}
	for _, good := range []middleware.Retry{{}, {MaxRetries: middleware.NoRetries, Jitter: middleware.NoJitter}, {BaseDelay: time.Hour}, {Multiplier: 1, Jitter: 1}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}
