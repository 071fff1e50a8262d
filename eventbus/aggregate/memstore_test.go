package aggregate_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
)

func event(id string, v int64) eventbus.Event {
	b := eventbus.NewBase(id)
	b.AggregateVersion = v
	return &Moved{Base: b}
}

func TestMemStore_StreamsAreApart(t *testing.T) {
	t.Parallel()
	var s aggregate.MemStore // the zero value
	accounts, carts := aggregate.Stream{Type: "Account", ID: "1"}, aggregate.Stream{Type: "Cart", ID: "1"}
	must(t, s.Append(t.Context(), accounts, 0, []eventbus.Event{event("1", 1)}))
	must(t, s.Append(t.Context(), carts, 0, []eventbus.Event{event("1", 1), event("1", 2)}))
	must(t, s.Append(t.Context(), accounts, 1, nil))
	for stream, want := range map[aggregate.Stream]int{accounts: 1, carts: 2, {Type: "Cart", ID: "2"}: 0, {Type: "Cart"}: 0} {
		n := 0
		for _, err := range s.Load(t.Context(), stream) {
			must(t, err)
			n++
		}
		if n != want {
			t.Errorf("%s: got %d events, want %d", stream, n, want)
		}
	}
	same(t, "pending", pending(t, &s, ""), []int64{1})
}

func TestMemStore_PendingInOrderWhileMarking(t *testing.T) {
	t.Parallel()
	s := aggregate.NewMemStore()
	var want []string
	for _, id := range []string{"c", "a", "b"} {
		events := []eventbus.Event{event(id, 1), event(id, 2)}
		must(t, s.Append(t.Context(), aggregate.Stream{Type: "Account", ID: id}, 0, events))
		want = append(want, id+"1", id+"2")
	}
	var got []string
	for e, err := range s.Pending(t.Context(), aggregate.Stream{Type: "Account"}) {
		must(t, err)
		b := e.EventBase()
		got = append(got, b.AggregateID+string(rune('0'+b.AggregateVersion)))
		must(t, s.MarkPublished(t.Context(), aggregate.Stream{Type: "Account", ID: b.AggregateID}, []eventbus.Event{e, e}))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v: streams in the order in which they began to wait", got, want)
	}
	same(t, "left", pending(t, s, ""), nil)
}

func TestMemStore_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, stream := aggregate.NewMemStore(), aggregate.Stream{Type: "Account", ID: "1"}
	must(t, s.Append(t.Context(), stream, 0, []eventbus.Event{event("1", 1)}))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errDown)
	if err := s.Append(ctx, stream, 1, []eventbus.Event{event("1", 2)}); !errors.Is(err, errDown) {
		t.Errorf("append: got %v", err)
	}
	for _, err := range s.Load(ctx, stream) {
		if !errors.Is(err, errDown) {
			t.Errorf("load: got %v", err)
		}
	}
	same(t, "pending", pending(t, s, "1"), []int64{1})
}
