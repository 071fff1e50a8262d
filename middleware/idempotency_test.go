package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

func idempotent(store middleware.Seen, h message.HandlerFunc) message.HandlerFunc {
	return middleware.Idempotency{Store: store}.Middleware(h)
}

func TestIdempotency_MarksAfterSuccess(t *testing.T) {
	t.Parallel()
	handler, runs := failing(2, errInk)
	h := idempotent(middleware.NewMemSeen(middleware.MemSeenConfig{}), handler)
	for i, want := range []struct {
		runs int
		err  error
	}{{1, errInk}, {2, errInk}, {3, nil}, {3, nil}, {3, nil}} {
		_, err := h(newMessage(t.Context(), "1"))
		if !errors.Is(err, want.err) || *runs != want.runs {
			t.Errorf("delivery %d: %d runs, %v; want %d, %v", i+1, *runs, err, want.runs, want.err)
		}
	}
	if _, err := h(newMessage(t.Context(), "2")); err != nil || *runs != 4 {
		t.Errorf("another message: %d runs, %v", *runs, err)
	}
}

func TestIdempotency_PanicIsNoSuccess(t *testing.T) {
	t.Parallel()
	runs := 0
	h := middleware.Chain(
		middleware.Recover{}.Middleware,
		middleware.Idempotency{Store: middleware.NewMemSeen(middleware.MemSeenConfig{})}.Middleware,
	)(func(*message.Message) ([]*message.Message, error) {
		if runs++; runs == 1 {
			panic("boom")
		}
		return nil, nil
	})
	_, first := h(newMessage(t.Context(), "1"))
	_, second := h(newMessage(t.Context(), "1"))
	if first == nil || second != nil || runs != 2 {
		t.Errorf("%v, then %v, %d runs; want the second delivery handled", first, second, runs)
	}
}

// Two deliveries of one message at once: the second waits, and is skipped or
// handled by how the first ends.
func TestIdempotency_ConcurrentDuplicates(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		failures int
		runs     int
	}{"the first succeeds": {0, 1}, "the first fails": {1, 2}, "the first two fail": {2, 3}} {
		synctest.Test(t, func(t *testing.T) {
			var running, most, runs, failed atomic.Int32
			h := idempotent(middleware.NewMemSeen(middleware.MemSeenConfig{}), func(*message.Message) ([]*message.Message, error) {
				n := runs.Add(1)
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				<-time.After(time.Minute)
				if int(n) <= tc.failures {
					return nil, errInk
				}
				return nil, nil
			})
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if _, err := h(newMessage(t.Context(), "1")); err != nil {
						failed.Add(1)
					}
				})
			}
			wg.Wait()
			if int(runs.Load()) != tc.runs || int(failed.Load()) != tc.failures || most.Load() != 1 {
				t.Errorf("%s: %d runs, %d failed, %d at once; want %d, %d, 1", name, runs.Load(), failed.Load(), most.Load(), tc.runs, tc.failures)
			}
		})
	}
}

func TestIdempotency_WaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	store := middleware.NewMemSeen(middleware.MemSeenConfig{})
	h := idempotent(store, succeed)
	if done, err := store.Begin(t.Context(), "\x00\x001"); done || err != nil { // somebody has it
		t.Fatal(done, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errDrain)
	if _, err := h(newMessage(ctx, "1")); !errors.Is(err, middleware.ErrHandedBack) || !errors.Is(err, errDrain) {
		t.Errorf("err = %v, want handed back", err)
	}
	if err := store.End(t.Context(), "\x00\x001", true); err != nil {
		t.Fatal(err)
	}
	if done, err := store.Begin(t.Context(), "\x00\x001"); !done || err != nil {
		t.Errorf("after the mark: %v, %v", done, err)
	}
}

func TestIdempotency_DifferentHandlersAndGroupsAreDifferent(t *testing.T) {
	t.Parallel()
	handler, runs := failing(0, nil)
	h := idempotent(middleware.NewMemSeen(middleware.MemSeenConfig{}), handler)
	a := middleware.WithHandlerName(t.Context(), "a")
	for _, ctx := range []context.Context{
		t.Context(), a, middleware.WithHandlerName(t.Context(), "b"),
		middleware.WithDelivery(a, &middleware.Delivery{Group: "g"}), middleware.WithDelivery(a, &middleware.Delivery{Group: "h"}),
	} {
		for range 2 {
			if _, err := h(newMessage(ctx, "1")); err != nil {
				t.Error(err)
			}
		}
	}
	if *runs != 5 {
		t.Errorf("%d runs, want one for each of five", *runs)
	}
}

// Even where it stands outside DeadLetter, to which a burial is a success, a
// replay is handled; a replay that was doubled by a crash is not.
func TestIdempotency_ReplayIsNoRepetition(t *testing.T) {
	t.Parallel()
	handler, runs := failing(1, errInk)
	h := middleware.Chain(
		middleware.Idempotency{Store: middleware.NewMemSeen(middleware.MemSeenConfig{})}.Middleware,
		middleware.DeadLetter{Burier: &graveyard{}}.Middleware,
	)(handler)
	for i, replays := range []string{"", "1", "1", "2"} {
		m := newMessage(t.Context(), "1")
		if replays != "" {
			m.Metadata["dlq_replay_count"] = replays
		}
		if _, err := h(m); err != nil {
			t.Error(err)
		}
		if want := []int{1, 2, 2, 3}[i]; *runs != want {
			t.Errorf("delivery %d: %d runs, want %d", i+1, *runs, want)
		}
	}
}

func TestIdempotency_Keys(t *testing.T) {
	t.Parallel()
	handler, runs := failing(0, nil)
	h := idempotent(middleware.NewMemSeen(middleware.MemSeenConfig{}), handler)
	for range 2 {
		if _, err := h(newMessage(t.Context(), "")); err != nil {
			t.Error(err)
		}
	}
	if *runs != 2 {
		t.Errorf("%d runs of messages without a UUID, want 2: they cannot be told apart", *runs)
	}
	own := middleware.Idempotency{
		Store: middleware.NewMemSeen(middleware.MemSeenConfig{}), Key: func(m *message.Message) string { return m.Metadata["aggregate_id"] },
	}.Middleware(handler)
	for _, id := range []string{"1", "2"} {
		if _, err := own(newMessage(t.Context(), id)); err != nil {
			t.Error(err)
		}
	}
	if *runs != 3 {
		t.Errorf("%d runs with a key of the user's, want 3", *runs)
	}
}

// brokenSeen is a store whose calls fail.
type brokenSeen struct {
	begin, end error
	ended      []bool
	endCtx     error
}

func (s *brokenSeen) Begin(context.Context, string) (bool, error) { return false, s.begin }

func (s *brokenSeen) End(ctx context.Context, _ string, handled bool) error {
	s.ended, s.endCtx = append(s.ended, handled), ctx.Err()
	return s.end
}

func TestIdempotency_StoreFails(t *testing.T) {
	t.Parallel()
	handler, runs := failing(0, nil)
	if _, err := idempotent(&brokenSeen{begin: errGraveyard}, handler)(newMessage(t.Context(), "1")); !errors.Is(err, errGraveyard) || *runs != 0 {
		t.Errorf("look-up fails: %v, %d runs; want its error and no run", err, *runs)
	}
	var out strings.Builder
	_, err := middleware.Idempotency{Store: &brokenSeen{end: errGraveyard}, Logger: slog.New(slog.NewTextHandler(&out, nil))}.Middleware(handler)(newMessage(t.Context(), "1"))
	if err != nil || *runs != 1 || !strings.Contains(out.String(), "level=ERROR") || !strings.Contains(out.String(), "graveyard closed") {
		t.Errorf("mark fails: %v, %d runs, log:\n%s; want success and a line in the log", err, *runs, out.String())
	}
}

func TestIdempotency_MarksAtShutdown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &brokenSeen{}
	_, err := idempotent(s, func(*message.Message) ([]*message.Message, error) {
		cancel(errDrain)
		return nil, nil
	})(newMessage(ctx, "1"))
	if err != nil || len(s.ended) != 1 || !s.ended[0] || s.endCtx != nil {
		t.Errorf("%v, marks %v with a context that is %v", err, s.ended, s.endCtx)
	}
}

func TestIdempotency_WithoutStore(t *testing.T) {
	t.Parallel()
	if err := (middleware.Idempotency{}).Validate(); err == nil {
		t.Error("no store: not refused")
	}
	handler, runs := failing(0, nil)
	h := middleware.Idempotency{}.Middleware(handler)
	for range 2 {
		if _, err := h(newMessage(t.Context(), "1")); err != nil {
			t.Error(err)
		}
	}
	if *runs != 2 {
		t.Errorf("%d runs, want 2", *runs)
	}
}

func TestMemSeen_IsBounded(t *testing.T) {
	t.Parallel()
	s := middleware.NewMemSeen(middleware.MemSeenConfig{Max: 10})
	handle := func(key string) bool {
		t.Helper()
		done, err := s.Begin(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if !done {
			if err := s.End(t.Context(), key, true); err != nil {
				t.Fatal(err)
			}
		}
		return done
	}
	for n := range 1000 {
		handle(fmt.Sprint(n))
	}
	if s.Len() != 10 {
		t.Errorf("%d keys are remembered, want 10", s.Len())
	}
	for n := 990; n < 1000; n++ {
		if !handle(fmt.Sprint(n)) {
			t.Errorf("key %d, one of the youngest ten, was forgotten", n)
		}
	}
	if handle("989") {
		t.Error("key 989 is remembered beyond the bound")
	}
}

func TestMemSeen_TTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := middleware.NewMemSeen(middleware.MemSeenConfig{TTL: time.Minute})
		for _, key := range []string{"a", "b"} {
			if err := s.End(t.Context(), key, true); err != nil {
				t.Fatal(err)
			}
			<-time.After(40 * time.Second)
		}
		doneA, _ := s.Begin(t.Context(), "a")
		doneB, _ := s.Begin(t.Context(), "b")
		if doneA || !doneB || s.Len() != 1 {
			t.Errorf("after 80s and 40s: %v, %v, %d remembered; want only the second", doneA, doneB, s.Len())
		}
	})
}
