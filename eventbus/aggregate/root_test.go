package aggregate_test

import (
	"errors"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
)

func TestRaise_CompletesTheBaseAndApplies(t *testing.T) {
	t.Parallel()
	a := &Account{}
	must(t, aggregate.Replay(a, "a-1", &Opened{Base: eventbus.Base{AggregateID: "a-1", AggregateVersion: 1}, Owner: "ann"}))
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	given := &Moved{Base: eventbus.Base{EventID: "mine", OccurredAt: when, ActorID: "bob", AggregateVersion: 99}, Amount: 5}
	must(t, aggregate.Raise(a, given))
	must(t, a.Move(2))

	if a.owner != "ann" || a.balance != 7 || a.Version() != 3 || a.ID() != "a-1" {
		t.Errorf("got owner %q, balance %d, version %d, id %q", a.owner, a.balance, a.Version(), a.ID())
	}
	raised := a.Uncommitted()
	if len(raised) != 2 {
		t.Fatalf("got %d uncommitted events, want the 2 that were raised and not the replayed one", len(raised))
	}
	b := *raised[0].EventBase()
	if b.EventID != "mine" || b.OccurredAt != when || b.ActorID != "bob" || b.AggregateID != "a-1" || b.AggregateVersion != 2 {
		t.Errorf("what the caller set must stay, the rest be filled: %+v", b)
	}
	b = *raised[1].EventBase()
	if b.EventID == "" || b.OccurredAt.IsZero() || b.OccurredAt.Location() != time.UTC || b.AggregateVersion != 3 {
		t.Errorf("id, time in UTC and version must be filled: %+v", b)
	}
	raised[0] = nil
	if a.Uncommitted()[0] == nil {
		t.Error("the slice must be the caller's own")
	}
}

func TestRaise_RefusesAndRecordsNothing(t *testing.T) {
	t.Parallel()
	fresh := &Account{}
	must(t, aggregate.Replay(fresh, "a-1"))
	var none *Moved
	for name, c := range map[string]struct {
		a    *Account
		e    eventbus.Event
		want error
	}{
		"no identity":       {&Account{}, &Moved{Amount: 1}, aggregate.ErrNoIdentity},
		"nil":               {fresh, nil, eventbus.ErrInvalidEvent},
		"nil pointer":       {fresh, none, eventbus.ErrInvalidEvent},
		"another aggregate": {fresh, &Moved{Base: eventbus.NewBase("a-2"), Amount: 1}, eventbus.ErrInvalidEvent},
	} {
		if err := aggregate.Raise(c.a, c.e); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if c.a.Version() != 0 || len(c.a.Uncommitted()) != 0 || c.a.balance != 0 {
			t.Errorf("%s: something was recorded: %+v", name, c.a)
		}
	}
}

func TestReplay_RefusesWhatIsNotOneHistory(t *testing.T) {
	t.Parallel()
	at := func(id string, v int64) eventbus.Event {
		return &Moved{Base: eventbus.Base{AggregateID: id, AggregateVersion: v}}
	}
	for name, events := range map[string][]eventbus.Event{
		"gap":               {at("a", 1), at("a", 3)},
		"double":            {at("a", 1), at("a", 1)},
		"late start":        {at("a", 2)},
		"another aggregate": {at("a", 1), at("b", 2)},
	} {
		if err := aggregate.Replay(&Account{}, "a", events...); !errors.Is(err, aggregate.ErrBrokenHistory) {
			t.Errorf("%s: got %v, want ErrBrokenHistory", name, err)
		}
	}
	a := &Account{}
	must(t, aggregate.Replay(a, "a", at("a", 1)))
	must(t, aggregate.Replay(a, "a", at("a", 2))) // goes on where it was
	if a.Version() != 2 {
		t.Errorf("got version %d, want 2", a.Version())
	}
	if err := aggregate.Replay(a, "b"); !errors.Is(err, aggregate.ErrBrokenHistory) {
		t.Errorf("another id: got %v, want ErrBrokenHistory", err)
	}
	if err := aggregate.Replay(&Account{}, ""); !errors.Is(err, aggregate.ErrNoIdentity) {
		t.Errorf("no id: got %v, want ErrNoIdentity", err)
	}
}
