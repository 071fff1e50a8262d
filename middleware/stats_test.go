package middleware_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

func TestStats_CountsEachOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s middleware.Stats
		began := time.Now().UTC()
		results := []error{nil, nil, errInk, middleware.Permanent(errInk), middleware.Discard(errInk), middleware.ErrHandedBack}
		for _, err := range results {
			_, got := s.Middleware(func(*message.Message) ([]*message.Message, error) {
				if n := s.Snapshot().InFlight; n != 1 {
					t.Errorf("%d in flight, want 1", n)
				}
				<-time.After(time.Second)
				return nil, err
			})(newMessage(t.Context(), "1"))
			if !errors.Is(got, err) {
				t.Errorf("%v became %v", err, got)
			}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_, _ = s.Middleware(explode("boom"))(newMessage(t.Context(), "1"))
		}()
		want := middleware.StatsSnapshot{
			Handled: 7, Succeeded: 2, Failed: 3, Discarded: 1, HandedBack: 1, Busy: 6 * time.Second,
			LastSuccessAt: began.Add(2 * time.Second), LastFailureAt: began.Add(6 * time.Second),
		}
		if got := s.Snapshot(); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

func TestStats_Concurrent(t *testing.T) {
	t.Parallel()
	var s middleware.Stats
	h := s.Middleware(succeed)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				_, _ = h(newMessage(t.Context(), "1"))
				_ = s.Snapshot()
			}
		})
	}
	wg.Wait()
	if got := s.Snapshot(); got.Handled != 4000 || got.Succeeded != 4000 || got.InFlight != 0 {
		t.Errorf("%+v", got)
	}
	if zero := (&middleware.Stats{}).Snapshot(); zero != (middleware.StatsSnapshot{}) {
		t.Errorf("before anything: %+v", zero)
	}
}

func TestStats_CostsNoAllocation(t *testing.T) {
	var s middleware.Stats
	h := s.Middleware(succeed)
	msg := newMessage(t.Context(), "1")
	if n := testing.AllocsPerRun(1000, func() { _, _ = h(msg) }); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
}
