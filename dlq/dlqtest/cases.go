package dlqtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"

	"github.com/leat-go/leat/dlq"
)

func empty(t *testing.T, s dlq.Store) {
	wantCount(t, s, 0)
	if got := list(t, s, dlq.Query{}); len(got) != 0 {
		t.Errorf("list has %d letters, want none", len(got))
	}
	if _, err := s.Get(t.Context(), "nonsense"); !errors.Is(err, dlq.ErrNotFound) {
		t.Errorf("get of an unknown id: %v, want %v", err, dlq.ErrNotFound)
	}
	if n, err := s.Delete(t.Context(), "nonsense"); n != 0 || err != nil {
		t.Errorf("delete of an unknown id = %d, %v, want 0, nil", n, err)
	}
	if n, err := s.Purge(t.Context()); n != 0 || err != nil {
		t.Errorf("purge = %d, %v, want 0, nil", n, err)
	}
}

func content(t *testing.T, s dlq.Store) {
	bare := dlq.Letter{MessageID: "bare", Source: dlq.Source{Partition: dlq.NoPosition, Offset: dlq.NoPosition}}
	bare.BuriedAt = Letter(1).BuriedAt
	odd := Letter(2)
	odd.Payload = []byte{0, 0xff, 0xfe, '\n'} // what could not be decoded is not text
	odd.Handlers = nil
	odd.Metadata["unicode ü\n"] = "line\r\nline\u0000 😀"
	for _, want := range []dlq.Letter{Letter(3), bare, odd} {
		id, err := s.Bury(t.Context(), want)
		if err != nil {
			t.Fatalf("bury %s: %v", want.MessageID, err)
		}
		got, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatalf("get %s: %v", want.MessageID, err)
		}
		if got.ID != id {
			t.Errorf("letter %s: id %q, want %q", want.MessageID, got.ID, id)
		}
		if got.Metadata == nil {
			got.Metadata = map[string]string{}
		}
		if diff := Diff(got, want); diff != "" {
			t.Errorf("letter %s:\n%s", want.MessageID, diff)
		}
	}
}

func order(t *testing.T, s dlq.Store) {
	ids := bury(t, s, 1, 200)
	wantCount(t, s, 200)
	wantIDs(t, "oldest first", list(t, s, dlq.Query{}), ids)
	slices.Reverse(ids)
	wantIDs(t, "newest first", list(t, s, dlq.Query{NewestFirst: true}), ids)
}

func pages(t *testing.T, s dlq.Store) {
	ids := bury(t, s, 1, 20)
	for _, newest := range []bool{false, true} {
		var joined []string
		q := dlq.Query{NewestFirst: newest, Limit: 7}
		for {
			page := idsOf(list(t, s, q))
			joined = append(joined, page...)
			if len(page) < q.Limit {
				break
			}
			q.After = page[len(page)-1]
		}
		want := slices.Clone(ids)
		if newest {
			slices.Reverse(want)
		}
		if !slices.Equal(joined, want) {
			t.Errorf("pages, newest first %v: ids %v, want %v", newest, joined, want)
		}
	}
	if _, err := s.Delete(t.Context(), ids[9]); err != nil {
		t.Fatalf("delete: %v", err)
	}
	for l, err := range s.List(t.Context(), dlq.Query{After: ids[9]}) {
		if errors.Is(err, dlq.ErrNotFound) { // a store that cannot tell says so
			return
		}
		if err != nil || l.ID != ids[10] {
			t.Errorf("after a letter that is gone: %q, %v, want %q", l.ID, err, ids[10])
		}
		break
	}
}

func notDestructive(t *testing.T, s dlq.Store) {
	ids := bury(t, s, 1, 30)
	one, stopOne := iter.Pull2(s.List(t.Context(), dlq.Query{}))
	defer stopOne()
	two, stopTwo := iter.Pull2(s.List(t.Context(), dlq.Query{}))
	defer stopTwo()
	for i, want := range ids {
		a, errA, okA := one()
		b, errB, okB := two()
		if !okA || !okB || errA != nil || errB != nil || a.ID != want || b.ID != want {
			t.Fatalf("letter %d of two listings: %q (%v), %q (%v), want %q", i, a.ID, errA, b.ID, errB, want)
		}
	}
	if l, err, ok := one(); ok {
		t.Errorf("one more letter: %q, %v", l.ID, err)
	}
	for range s.List(t.Context(), dlq.Query{}) { // begun and left
		break
	}
	wantCount(t, s, int64(len(ids)))
	wantIDs(t, "afterwards", list(t, s, dlq.Query{}), ids)
}

func filters(t *testing.T, s dlq.Store) {
	bury(t, s, 1, 20)
	other := Letter(21)
	other.Group, other.Reason, other.Handlers = "audit", dlq.ReasonUndecodable, nil
	if _, err := s.Bury(t.Context(), other); err != nil {
		t.Fatalf("bury: %v", err)
	}
	for name, f := range map[string]dlq.Filter{
		"handler":    {Handler: "handler-1"},
		"event type": {EventType: "OrderShipped"},
		"group":      {Group: "audit"},
		"key":        {Key: "order-3"},
		"reason":     {Reason: dlq.ReasonUndecodable},
		"since":      {Since: Letter(15).BuriedAt},
		"until":      {Until: Letter(15).BuriedAt},
		"both":       {Handler: "handler-1", EventType: "OrderPaid"},
		"nothing":    {Handler: "nobody"},
	} {
		var want []string
		for n := 1; n <= 21; n++ {
			l := Letter(n)
			if n == 21 {
				l = other
			}
			if f.Match(&l) {
				want = append(want, l.MessageID)
			}
		}
		var got []string
		for _, l := range list(t, s, dlq.Query{Filter: f}) {
			got = append(got, l.MessageID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("filter by %s: %v, want %v", name, got, want)
		}
	}
	got := list(t, s, dlq.Query{Filter: dlq.Filter{EventType: "OrderShipped"}, Limit: 3, NewestFirst: true})
	if len(got) != 3 || got[0].MessageID != "message-21" || got[2].MessageID != "message-17" {
		t.Errorf("three newest of a type: %v", idsOf(got))
	}
}

func deletes(t *testing.T, s dlq.Store) {
	ids := bury(t, s, 1, 6)
	n, err := s.Delete(t.Context(), ids[1], "nonsense", ids[4], ids[1])
	if n != 2 || err != nil {
		t.Errorf("delete of two of six = %d, %v, want 2, nil", n, err)
	}
	if n, err := s.Delete(t.Context(), ids[1]); n != 0 || err != nil {
		t.Errorf("delete again = %d, %v, want 0, nil", n, err)
	}
	if n, err := s.Delete(t.Context()); n != 0 || err != nil {
		t.Errorf("delete of nothing = %d, %v, want 0, nil", n, err)
	}
	if _, err := s.Get(t.Context(), ids[4]); !errors.Is(err, dlq.ErrNotFound) {
		t.Errorf("get of a deleted letter: %v, want %v", err, dlq.ErrNotFound)
	}
	wantCount(t, s, 4)
	wantIDs(t, "after delete", list(t, s, dlq.Query{}), []string{ids[0], ids[2], ids[3], ids[5]})
	if r, ok := s.(dlq.Remover); ok {
		if err := r.Remove(t.Context(), ids[0]); err != nil {
			t.Errorf("remove: %v", err)
		}
		wantIDs(t, "after remove", list(t, s, dlq.Query{}), []string{ids[2], ids[3], ids[5]})
	}
}

func purge(t *testing.T, s dlq.Store) {
	bury(t, s, 1, 130)
	if n, err := s.Purge(t.Context()); n != 130 || err != nil {
		t.Errorf("purge of 130 = %d, %v", n, err)
	}
	wantCount(t, s, 0)
	if got := list(t, s, dlq.Query{}); len(got) != 0 {
		t.Errorf("after purge %d letters are listed", len(got))
	}
	later := bury(t, s, 131, 132)
	wantIDs(t, "buried after the purge", list(t, s, dlq.Query{}), later)
	wantCount(t, s, 2)
}

func ends(t *testing.T, s dlq.Store) {
	ids := bury(t, s, 1, 5)
	var got []string
	for l, err := range s.List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		if got = append(got, l.ID); len(got) > 5 {
			break
		}
		bury(t, s, 100+len(got), 100+len(got))
	}
	if !slices.Equal(got, ids) {
		t.Errorf("listing while letters come in: %v, want %v", got, ids)
	}
	wantCount(t, s, 10)
}

func ownership(t *testing.T, s dlq.Store) {
	given := Letter(1)
	id, err := s.Bury(t.Context(), given)
	if err != nil {
		t.Fatalf("bury: %v", err)
	}
	spoil := func(l *dlq.Letter) {
		l.Payload[0] = 'X'
		l.Metadata["event_type"] = "Spoilt"
		l.Handlers[0] = "spoilt"
	}
	spoil(&given)
	for range 2 {
		got, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatalf("get: %v", err)
		}
		if diff := Diff(got, Letter(1)); diff != "" {
			t.Fatalf("somebody else's change shows in the letter:\n%s", diff)
		}
		spoil(&got)
		for l := range s.List(t.Context(), dlq.Query{}) {
			spoil(&l)
		}
	}
}

func cancelled(t *testing.T, s dlq.Store) {
	bury(t, s, 1, 3)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	if _, err := s.Bury(ctx, Letter(4)); err == nil {
		t.Error("bury with a dead context: nil, want an error")
	}
	seen, failed := 0, false
	for _, err := range s.List(ctx, dlq.Query{}) {
		if err != nil {
			failed = true
		} else {
			seen++
		}
	}
	if !failed {
		t.Errorf("list with a dead context: %d letters and no error", seen)
	}
	wantCount(t, s, 3)
}

func concurrent(t *testing.T, s dlq.Store) {
	const workers, each = 4, 8
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				id, err := s.Bury(t.Context(), Letter(w*each+i))
				if err != nil {
					t.Errorf("bury: %v", err)
					return
				}
				if i%2 == 0 {
					if n, err := s.Delete(t.Context(), id); n != 1 || err != nil {
						t.Errorf("delete of a letter just buried = %d, %v", n, err)
					}
				}
			}
		})
		wg.Go(func() {
			for _, err := range s.List(t.Context(), dlq.Query{}) {
				if err != nil {
					t.Errorf("list: %v", err)
				}
			}
			if _, err := s.Count(t.Context()); err != nil {
				t.Errorf("count: %v", err)
			}
		})
	}
	wg.Wait()
	wantCount(t, s, workers*each/2)
	left := map[string]bool{}
	for _, l := range list(t, s, dlq.Query{}) {
		left[l.MessageID] = true
	}
	for n := range workers * each {
		if id := fmt.Sprintf("message-%d", n); left[id] != (n%2 == 1) {
			t.Errorf("%s in the store: %v", id, left[id])
		}
	}
}
