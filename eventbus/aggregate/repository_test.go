package aggregate_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
)

func TestConfig_TellsAllThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := aggregate.NewRepository(aggregate.Config[*Account]{})
	if err == nil {
		t.Fatal("an empty config must be refused")
	}
	for _, field := range []string{"Type", "New", "Store", "Publisher"} {
		if !strings.Contains(err.Error(), "aggregate: Config."+field+": ") {
			t.Errorf("%q does not name %s", err, field)
		}
	}
}

func TestSave_PublishesExactlyTheNewEventsOnce(t *testing.T) {
	t.Parallel()
	p, s := &press{}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	a := opened(t, r, "a-1", 10)
	must(t, r.Save(t.Context(), a))
	must(t, r.Save(t.Context(), a)) // nothing new
	same(t, "published", p.versions("a-1"), []int64{1, 2})
	if len(a.Uncommitted()) != 0 {
		t.Error("saved events must not be uncommitted")
	}

	b, err := r.Load(t.Context(), "a-1")
	must(t, err)
	if b.Version() != 2 || b.balance != 10 || len(b.Uncommitted()) != 0 {
		t.Errorf("loaded %+v", b)
	}
	must(t, b.Move(-3))
	must(t, r.Save(t.Context(), b))
	same(t, "published", p.versions("a-1"), []int64{1, 2, 3})
	same(t, "pending", pending(t, s, "a-1"), nil)
	if got := p.got[2].EventBase().AggregateType; got != "Account" {
		t.Errorf("got aggregate type %q, want the repository's", got)
	}
}

func TestSave_ConflictIsTypedAndPublishesNothing(t *testing.T) {
	t.Parallel()
	p, s := &press{}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	must(t, r.Save(t.Context(), opened(t, r, "a-1")))
	one, err := r.Load(t.Context(), "a-1")
	must(t, err)
	two, err := r.Load(t.Context(), "a-1")
	must(t, err)
	must(t, one.Move(1))
	must(t, one.Move(1))
	must(t, two.Move(2))
	must(t, r.Save(t.Context(), one))

	err = r.Save(t.Context(), two)
	var conflict *aggregate.ConflictError
	if !errors.As(err, &conflict) || conflict.Expected != 1 || conflict.Actual != 3 || conflict.Stream.ID != "a-1" {
		t.Errorf("got %v, want a *ConflictError: 1 expected, 3 actual", err)
	}
	same(t, "published", p.versions("a-1"), []int64{1, 2, 3})
	same(t, "pending", pending(t, s, "a-1"), nil)
	if len(two.Uncommitted()) != 1 {
		t.Error("what was not saved must stay uncommitted")
	}
	if err := r.Save(t.Context(), opened(t, r, "a-1")); !errors.As(err, &conflict) || conflict.Expected != 0 {
		t.Errorf("creating what exists: got %v, want a *ConflictError", err)
	}
}

func TestLoad_UnknownIsTyped(t *testing.T) {
	t.Parallel()
	r := newRepository(t, aggregate.NewMemStore(), &press{})
	a, err := r.Load(t.Context(), "nobody")
	var missing *aggregate.NotFoundError
	if !errors.As(err, &missing) || missing.Stream != (aggregate.Stream{Type: "Account", ID: "nobody"}) {
		t.Errorf("got %v, want a *NotFoundError", err)
	}
	if a != nil {
		t.Errorf("got %+v with an error", a)
	}
}

func TestSave_WithoutIdentity(t *testing.T) {
	t.Parallel()
	r := newRepository(t, aggregate.NewMemStore(), &press{})
	if err := r.Save(t.Context(), &Account{}); !errors.Is(err, aggregate.ErrNoIdentity) {
		t.Errorf("got %v, want ErrNoIdentity", err)
	}
}

func TestSave_TellsOneStory(t *testing.T) {
	t.Parallel()
	p := &press{}
	r := newRepository(t, aggregate.NewMemStore(), p)
	must(t, r.Save(t.Context(), opened(t, r, "a-1", 1)))
	first, second := p.got[0].EventBase(), p.got[1].EventBase()
	if first.CorrelationID != first.EventID || second.CorrelationID != first.EventID || second.CausationID != "" {
		t.Errorf("without a cause the first event begins the story of all: %+v, %+v", first, second)
	}

	ctx := aggregate.WithCause(t.Context(), p.got[1])
	other := opened(t, r, "a-2", 1)
	own := &Moved{Base: eventbus.Base{CorrelationID: "own"}}
	must(t, aggregate.Raise(other, own))
	must(t, r.Save(ctx, other))
	for _, e := range p.got[2:4] {
		if b := e.EventBase(); b.CorrelationID != first.EventID || b.CausationID != second.EventID {
			t.Errorf("the story of the cause must go on: %+v", b)
		}
	}
	if own.CorrelationID != "own" {
		t.Errorf("a correlation that was given became %q", own.CorrelationID)
	}
}

// TestLoad_SameStateAfterReplay runs random commands and compares, at each
// step, the aggregate that lived through them with the one that was loaded.
func TestLoad_SameStateAfterReplay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // repeatable on purpose
		r := newRepository(t, aggregate.NewMemStore(), &press{})
		live := opened(t, r, "a", rnd.IntN(100))
		tags := []string{"", "rent", "größe", "a\x00b"}
		for range rnd.IntN(30) {
			for range rnd.IntN(4) {
				if err := live.Move(rnd.IntN(200)-100, tags[:rnd.IntN(len(tags)+1)]...); err != nil && !errors.Is(err, errOverdrawn) {
					t.Fatal(err)
				}
			}
			must(t, r.Save(t.Context(), live))
			loaded, err := r.Load(t.Context(), "a")
			must(t, err)
			if !reflect.DeepEqual(loaded, live) {
				t.Fatalf("seed %d: loaded %+v, lived through %+v", seed, loaded, live)
			}
		}
	}
}

func TestSave_OfManyGoroutines(t *testing.T) {
	t.Parallel()
	p, s := &press{}, aggregate.NewMemStore()
	r := newRepository(t, s, p)
	must(t, r.Save(t.Context(), opened(t, r, "a")))
	const workers, each = 8, 50
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				a, err := r.Load(t.Context(), "a")
				if err == nil {
					err = a.Move(1)
				}
				if err == nil {
					err = r.Save(t.Context(), a)
				}
				var conflict *aggregate.ConflictError
				switch {
				case err == nil:
					done++
				case !errors.As(err, &conflict):
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 { // beside them
		if n, err := r.PublishPending(t.Context()); n != 0 || err != nil {
			t.Errorf("published %d, %v: it took what a Save was publishing", n, err)
		}
	}
	wg.Wait()
	a, err := r.Load(t.Context(), "a")
	must(t, err)
	if a.balance != workers*each || a.Version() != workers*each+1 {
		t.Errorf("got balance %d at version %d, want %d", a.balance, a.Version(), workers*each)
	}
	seen := map[int64]int{}
	for _, v := range p.versions("a") {
		seen[v]++
	}
	for v := int64(1); v <= a.Version(); v++ {
		if seen[v] != 1 {
			t.Errorf("version %d was published %d times", v, seen[v])
		}
	}
}

// faulty is a store whose steps fail as told.
type faulty struct {
	*aggregate.MemStore
	append, mark, load, pending error
}

func (f *faulty) Append(ctx context.Context, s aggregate.Stream, v int64, events []eventbus.Event) error {
	if f.append != nil {
		return f.append
	}
	return f.MemStore.Append(ctx, s, v, events)
}

func (f *faulty) MarkPublished(ctx context.Context, s aggregate.Stream, events []eventbus.Event) error {
	if f.mark != nil {
		return f.mark
	}
	return f.MemStore.MarkPublished(ctx, s, events)
}

func (f *faulty) Load(ctx context.Context, s aggregate.Stream) iter.Seq2[eventbus.Event, error] {
	return broken(f.load, f.MemStore.Load(ctx, s))
}

func (f *faulty) Pending(ctx context.Context, s aggregate.Stream) iter.Seq2[eventbus.Event, error] {
	return broken(f.pending, f.MemStore.Pending(ctx, s))
}

func broken(err error, seq iter.Seq2[eventbus.Event, error]) iter.Seq2[eventbus.Event, error] {
	if err == nil {
		return seq
	}
	return func(yield func(eventbus.Event, error) bool) { yield(nil, err) }
}

var errDisk = errors.New("disk")

func TestRepository_PassesOnTheStoresErrors(t *testing.T) {
	t.Parallel()
	f, p := &faulty{MemStore: aggregate.NewMemStore()}, &press{}
	r := newRepository(t, f, p)
	a := opened(t, r, "a")
	f.append = errDisk
	if err := r.Save(t.Context(), a); !errors.Is(err, errDisk) || len(a.Uncommitted()) != 1 {
		t.Errorf("got %v, uncommitted %d", err, len(a.Uncommitted()))
	}
	same(t, "published", p.versions("a"), nil)
	f.append = nil
	must(t, r.Save(t.Context(), a))
	f.load = errDisk
	if got, err := r.Load(t.Context(), "a"); !errors.Is(err, errDisk) || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
	f.pending = errDisk
	if _, err := r.PublishPending(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("got %v", err)
	}
	must(t, a.Move(1))
	var lost *aggregate.UnpublishedError
	if err := r.Save(t.Context(), a); !errors.As(err, &lost) || !errors.Is(err, errDisk) {
		t.Errorf("got %v, want an *UnpublishedError", err)
	}
	f.pending = nil
	same(t, "pending", pending(t, f, "a"), []int64{2})
}
