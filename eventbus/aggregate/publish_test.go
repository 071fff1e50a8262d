package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
)

var errDown = errors.New("broker down")

func down(eventbus.Event) error { return errDown }

func TestSave_AFailedPublishIsNotSilent(t *testing.T) {
	t.Parallel()
	p, s := &press{fail: down}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	a := opened(t, r, "a", 1)
	events := a.Uncommitted()
	err := r.Save(t.Context(), a)

	var lost *aggregate.UnpublishedError
	if !errors.As(err, &lost) || !errors.Is(err, errDown) {
		t.Fatalf("got %v, want an *UnpublishedError that wraps the cause", err)
	}
	want := []string{events[0].EventBase().EventID, events[1].EventBase().EventID}
	if !slices.Equal(lost.EventIDs, want) || lost.Stream != (aggregate.Stream{Type: "Account", ID: "a"}) {
		t.Errorf("got %s %v, want %v", lost.Stream, lost.EventIDs, want)
	}
	if len(a.Uncommitted()) != 0 {
		t.Error("stored events must not be uncommitted: a second Save would conflict with the first")
	}
	same(t, "pending", pending(t, s, "a"), []int64{1, 2})

	if n, err := r.PublishPending(t.Context()); n != 0 || !errors.As(err, &lost) {
		t.Errorf("still down: got %d, %v", n, err)
	}
	p.failing(nil)
	if n, err := r.PublishPending(t.Context()); n != 2 || err != nil {
		t.Errorf("got %d, %v, want 2", n, err)
	}
	if n, err := r.PublishPending(t.Context()); n != 0 || err != nil {
		t.Errorf("again: got %d, %v, want nothing to do", n, err)
	}
	same(t, "published", p.versions("a"), []int64{1, 2})
	same(t, "pending", pending(t, s, "a"), nil)
}

func TestSave_PublishesFirstWhatWasLeftBehind(t *testing.T) {
	t.Parallel()
	p, s := &press{fail: down}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	a, other := opened(t, r, "a"), opened(t, r, "b")
	_, _ = r.Save(t.Context(), a), r.Save(t.Context(), other) // both fail, as above
	p.failing(nil)
	must(t, a.Move(1))
	must(t, r.Save(t.Context(), a))
	same(t, "published", p.versions("a"), []int64{1, 2})
	same(t, "another aggregate's", p.versions("b"), nil)
	same(t, "pending", pending(t, s, ""), []int64{1})
}

// TestPublishPending_AfterACrash appends as Save does and dies before the
// publish: a new process finds the events by the store alone.
func TestPublishPending_AfterACrash(t *testing.T) {
	t.Parallel()
	s := aggregate.NewMemStore()
	dying := &press{hook: func(context.Context, eventbus.Event) { panic("killed") }}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the publisher did not die")
			}
		}()
		r := newRepository(t, s, dying)
		_ = r.Save(t.Context(), opened(t, r, "a", 1, 2)) // does not return
	}()
	p := &press{}
	if n, err := newRepository(t, s, p).PublishPending(t.Context()); n != 3 || err != nil {
		t.Errorf("got %d, %v, want 3", n, err)
	}
	same(t, "published", p.versions("a"), []int64{1, 2, 3})
}

func TestPublishPending_KeepsOrderAndGoesOnWithOthers(t *testing.T) {
	t.Parallel()
	p, s := &press{fail: down}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	for i := range 15 {
		_ = r.Save(t.Context(), opened(t, r, fmt.Sprint("bad-", i))) // fails, as above
	}
	good := opened(t, r, "good", 1, 2)
	_ = r.Save(t.Context(), good)
	p.failing(func(e eventbus.Event) error {
		if e.EventBase().AggregateID != "good" {
			return errDown
		}
		return nil
	})
	n, err := r.PublishPending(t.Context())
	if n != 3 {
		t.Errorf("published %d, want the 3 of the good aggregate behind the bad ones", n)
	}
	same(t, "published", p.versions("good"), []int64{1, 2, 3})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 11 {
		t.Errorf("got %v, want ten aggregates and a count of the rest", err)
	}
}

func TestSave_MarksWhatAPartlyFailedPublishConfirmed(t *testing.T) {
	t.Parallel()
	p, s := &press{}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	p.failing(func(e eventbus.Event) error {
		if e.EventBase().AggregateVersion >= 3 {
			return errDown
		}
		return nil
	})
	err := r.Save(t.Context(), opened(t, r, "a", 1, 2, 3))
	var lost *aggregate.UnpublishedError
	if !errors.As(err, &lost) || len(lost.EventIDs) != 2 {
		t.Fatalf("got %v, want 2 unpublished", err)
	}
	same(t, "pending", pending(t, s, "a"), []int64{3, 4})
	p.failing(nil)
	_, err = r.PublishPending(t.Context())
	must(t, err)
	same(t, "published", p.versions("a"), []int64{1, 2, 3, 4})
}

func TestSave_TellsWhenMarkingFails(t *testing.T) {
	t.Parallel()
	f, p := &faulty{MemStore: aggregate.NewMemStore(), mark: errDisk}, &press{}
	r := newRepository(t, f, p)
	err := r.Save(t.Context(), opened(t, r, "a"))
	var lost *aggregate.UnpublishedError
	if !errors.As(err, &lost) || !errors.Is(err, errDisk) || len(lost.EventIDs) != 1 {
		t.Errorf("got %v", err)
	}
	same(t, "pending", pending(t, f, "a"), []int64{1})
}

// TestSave_MarksThoughTheCallerLeft: the context ends while Publish succeeds.
func TestSave_MarksThoughTheCallerLeft(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := &press{hook: func(context.Context, eventbus.Event) { cancel() }}
	f := &heeding{MemStore: aggregate.NewMemStore()}
	r := newRepository(t, f, p)
	must(t, r.Save(ctx, opened(t, r, "a")))
	same(t, "pending", pending(t, f, "a"), nil)
}

// heeding is a store that heeds the context when it marks.
type heeding struct{ *aggregate.MemStore }

func (h *heeding) MarkPublished(ctx context.Context, s aggregate.Stream, events []eventbus.Event) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return h.MemStore.MarkPublished(ctx, s, events)
}

// TestSave_FromAHandlerOfTheSameAggregate is what a lock would not survive.
func TestSave_FromAHandlerOfTheSameAggregate(t *testing.T) {
	t.Parallel()
	p, s := &press{}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	p.hook = func(ctx context.Context, e eventbus.Event) {
		if e.EventBase().AggregateVersion != 1 {
			return
		}
		a, err := r.Load(ctx, "a")
		must(t, err)
		must(t, a.Move(5))
		must(t, r.Save(aggregate.WithCause(ctx, e), a))
		if n, err := r.PublishPending(ctx); n != 0 || err != nil {
			t.Errorf("published %d, %v: the outer Save is at it", n, err)
		}
	}
	must(t, r.Save(t.Context(), opened(t, r, "a")))
	same(t, "published", p.versions("a"), []int64{2, 1}) // the inner one was first, and each came once
	same(t, "pending", pending(t, s, "a"), nil)
}

// TestPublishPending_LooksAgainAfterItsClaim: between its look at the store and
// its claim, the Save that was publishing has come to its end.
func TestPublishPending_LooksAgainAfterItsClaim(t *testing.T) {
	t.Parallel()
	p, s := &press{fail: down}, &stale{MemStore: aggregate.NewMemStore()}
	r := newRepository(t, s, p)
	_ = r.Save(t.Context(), opened(t, r, "a")) // fails, as above
	p.failing(nil)
	s.armed = true
	if n, err := r.PublishPending(t.Context()); n != 0 || err != nil {
		t.Errorf("published %d, %v: a second time", n, err)
	}
}

// stale answers once with what was true just before.
type stale struct {
	*aggregate.MemStore
	armed bool
}

func (s *stale) Pending(ctx context.Context, stream aggregate.Stream) iter.Seq2[eventbus.Event, error] {
	if stream.ID == "" || !s.armed {
		return s.MemStore.Pending(ctx, stream)
	}
	s.armed = false
	return func(yield func(eventbus.Event, error) bool) {
		for e, err := range s.MemStore.Pending(ctx, stream) {
			_ = s.MarkPublished(ctx, stream, []eventbus.Event{e}) // in memory: no error
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestPublishPending_WaitsBehindWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	p, s := &press{}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	p.fail = func(e eventbus.Event) error {
		if e.EventBase().AggregateVersion == 2 && len(p.versions("a")) == 0 {
			return errDown // while version 1 is being published
		}
		return nil
	}
	p.hook = func(ctx context.Context, e eventbus.Event) {
		if e.EventBase().AggregateVersion != 1 {
			return
		}
		a, err := r.Load(ctx, "a")
		must(t, err)
		must(t, a.Move(5))
		if err := r.Save(ctx, a); !errors.Is(err, errDown) {
			t.Errorf("got %v, want the failure of version 2", err)
		}
		if n, err := r.PublishPending(ctx); n != 0 || err != nil {
			t.Errorf("published %d, %v: version 2 before version 1", n, err)
		}
	}
	must(t, r.Save(t.Context(), opened(t, r, "a")))
	if n, err := r.PublishPending(t.Context()); n != 1 || err != nil {
		t.Errorf("got %d, %v, want version 2", n, err)
	}
	same(t, "published", p.versions("a"), []int64{1, 2})
}
