package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/leat-go/leat/eventbus"
)

func subscribeCases() []Case {
	return []Case{
		{
			Name: "EveryHandlerGetsIt", Laws: []int{3}, run: everyHandlerGetsIt,
			Why: "two handlers of one type both get an event, and a wildcard handler gets every type",
		},
		{
			Name: "WildcardKeepsPublishOrder", Laws: []int{9}, Need: []Feature{Order}, run: wildcardKeepsOrder,
			Why: "a wildcard handler gets the events of one publisher, of whatever type, in publish order",
		},
		{
			Name: "UnsubscribeEndsDelivery", run: unsubscribeEndsDelivery,
			Why: "Unsubscribe returns true and ends the delivery; again, or of something unknown, it returns false",
		},
		{
			Name: "TwoNamesRunTwice", run: twoNamesRunTwice,
			Why: "one function under two names runs twice, and a name that is taken is refused",
		},
		{
			Name: "SubscribeAllAddsWhatIsDeclared", run: subscribeAll,
			Why: "SubscribeAll adds each declared type and nothing else, honours CanHandle, and refuses an empty list",
		},
		{
			Name: "CountsAreRight", run: countsAreRight,
			Why: "the counts of subscribers are right after any sequence of adds and removes",
		},
	}
}

func everyHandlerGetsIt(s *session) {
	n := s.start()
	one, two, all := n.record("one"), n.record("two"), n.recordAll("all")
	a, b := place("a", 1), ship("a", 2)
	n.publish(a, b)
	one.WantAnyOrder(s, a)
	two.WantAnyOrder(s, a)
	all.WantAnyOrder(s, a, b)
	n.stop()
	if got := one.Len() + two.Len() + all.Len(); got != 4 {
		s.Errorf("%d deliveries to three handlers, want 4", got)
	}
}

func wildcardKeepsOrder(s *session) {
	n := s.start()
	all := n.recordAll("all")
	n.record("one-of-them")
	g := s.generator()
	var sent []eventbus.Event
	for i := range s.scaled(100) {
		switch g.IntN(3) {
		case 0:
			sent = append(sent, place("k", i))
		case 1:
			sent = append(sent, ship("k", i))
		default:
			sent = append(sent, &returned{Base: eventbus.NewBase("k"), N: i})
		}
	}
	for batch := range slices.Chunk(sent, 7) {
		n.publish(batch...)
	}
	all.Want(s, sent...)
}

func unsubscribeEndsDelivery(s *session) {
	n := s.start()
	witness := n.recordAll("witness")
	gone := &Recorder{}
	sub, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "gone", gone)
	if err != nil {
		s.Fatal(err)
	}
	first := place("k", 1)
	n.publish(first)
	gone.Want(s, first)
	witness.Wait(s, 1)
	if !sub.Unsubscribe() {
		s.Error("the first Unsubscribe returned false")
	}
	if sub.Unsubscribe() {
		s.Error("the second Unsubscribe returned true")
	}
	for what, got := range map[string]bool{
		"of an unknown name":    n.Bus.Unsubscribe(eventbus.TypeFor[placed](), "nobody"),
		"of an unknown type":    n.Bus.Unsubscribe(eventbus.TypeFor[stranger](), "witness"),
		"of an unknown handler": n.Bus.UnsubscribeFromAllEvents("nobody"),
		"of a name on a type":   n.Bus.Unsubscribe(eventbus.TypeFor[placed](), "witness"),
	} {
		if got {
			s.Errorf("Unsubscribe %s returned true", what)
		}
	}
	n.publish(place("k", 2), place("k", 3))
	witness.Wait(s, 3)
	if !n.Bus.UnsubscribeFromAllEvents("witness") {
		s.Error("UnsubscribeFromAllEvents returned false for a handler of all events")
	}
	n.publish(place("k", 4))
	n.stop()
	if gone.Len() != 1 || witness.Len() != 3 {
		s.Errorf("the handlers got %d and %d events, want 1 and 3", gone.Len(), witness.Len())
	}
}

func twoNamesRunTwice(s *session) {
	n := s.start()
	both := &Recorder{Timeout: s.h.Patience}
	for _, name := range []string{"one", "two"} {
		if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), name, both); err != nil {
			s.Fatal(err)
		}
	}
	_, typed := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "one", both)
	_, wild := n.Bus.SubscribeToAllEvents("two", both)
	for what, err := range map[string]error{"on the type": typed, "on all events": wild} {
		var refused *eventbus.SubscribeError
		if !errors.Is(err, eventbus.ErrDuplicate) || !errors.As(err, &refused) {
			s.Errorf("a name that is taken %s: error %v, want a SubscribeError with ErrDuplicate", what, err)
		}
	}
	e := place("k", 1)
	n.publish(e)
	both.Want(s, e, e)
	n.stop()
	if both.Len() != 2 {
		s.Errorf("ran %d times, want 2", both.Len())
	}
}

// projection declares its types and takes only odd events.
type projection struct {
	Recorder
	name  string
	types []eventbus.Type
}

func (p *projection) Name() string                  { return p.name }
func (p *projection) SubscribedTo() []eventbus.Type { return p.types }

func (p *projection) CanHandle(e eventbus.Event) bool {
	switch e := e.(type) {
	case *placed:
		return e.N%2 == 1
	case *shipped:
		return e.N%2 == 1
	}
	return true
}

func subscribeAll(s *session) {
	n := s.start()
	witness := n.recordAll("witness")
	p := &projection{name: "projection", types: []eventbus.Type{eventbus.TypeFor[placed](), eventbus.TypeFor[shipped](), eventbus.TypeFor[placed]()}}
	sub, err := n.Bus.SubscribeAll(p)
	if err != nil {
		s.Fatal(err)
	}
	if _, err := n.Bus.SubscribeAll(&projection{name: "empty"}); !errors.Is(err, eventbus.ErrNoTypes) {
		s.Errorf("a subscriber without types: error %v, want ErrNoTypes", err)
	}
	a, b := place("k", 1), ship("k", 3)
	n.publish(a, place("k", 2), ship("k", 4), b, &returned{Base: eventbus.NewBase("k"), N: 5})
	witness.Wait(s, 5)
	p.Timeout = s.h.Patience
	p.WantAnyOrder(s, a, b)
	if !sub.Unsubscribe() {
		s.Error("Unsubscribe returned false")
	}
	if got := n.Bus.SubscriberCount(); got != 0 {
		s.Errorf("%d subscribers after it left, want none", got)
	}
	n.stop()
	if p.Len() != 2 {
		s.Errorf("%d events, want the two odd ones of its types: %v", p.Len(), list(describe(p.Events())))
	}
}

// model is what the counts must be.
type model struct {
	typed map[eventbus.Type]map[string]bool
	wild  map[string]bool
}

func (m *model) addTyped(name string, types ...eventbus.Type) bool {
	for _, t := range types {
		if m.wild[name] || m.typed[t][name] {
			return false
		}
	}
	for _, t := range types {
		m.typed[t][name] = true
	}
	return true
}

func (m *model) addWild(name string) bool {
	for _, names := range m.typed {
		if names[name] {
			return false
		}
	}
	if m.wild[name] {
		return false
	}
	m.wild[name] = true
	return true
}

func countsAreRight(s *session) {
	n := s.open()
	g := s.generator()
	types := []eventbus.Type{eventbus.TypeFor[placed](), eventbus.TypeFor[shipped](), eventbus.TypeFor[returned]()}
	m := &model{typed: map[eventbus.Type]map[string]bool{types[0]: {}, types[1]: {}, types[2]: {}}, wild: map[string]bool{}}
	h := eventbus.HandlerFunc(func(context.Context, eventbus.Event) error { return nil })
	for step := range 500 {
		name, t := fmt.Sprintf("h%d", g.IntN(12)), types[g.IntN(3)]
		var act string
		var did, want bool
		switch g.IntN(12) {
		case 0, 1, 2, 3:
			act = "subscribe " + name + " to " + t.String()
			_, err := n.Bus.SubscribeHandler(t, name, h)
			did, want = err == nil, m.addTyped(name, t)
		case 4, 5:
			act = "subscribe " + name + " to all events"
			_, err := n.Bus.SubscribeToAllEvents(name, h)
			did, want = err == nil, m.addWild(name)
		case 6:
			act = "subscribe all of " + name
			_, err := n.Bus.SubscribeAll(&projection{name: name, types: types[:2]})
			did, want = err == nil, m.addTyped(name, types[:2]...)
		case 7, 8, 9:
			act = "unsubscribe " + name + " from " + t.String()
			did, want = n.Bus.Unsubscribe(t, name), m.typed[t][name]
			delete(m.typed[t], name)
		case 10:
			act = "unsubscribe " + name + " from all events"
			did, want = n.Bus.UnsubscribeFromAllEvents(name), m.wild[name]
			delete(m.wild, name)
		default:
			if !g.chance(8) {
				continue
			}
			act, did, want = "clear", true, true
			n.Bus.ClearSubscribers()
			clear(m.wild)
			for _, names := range m.typed {
				clear(names)
			}
		}
		got := []int{n.Bus.SubscriberCount(), n.Bus.WildcardSubscriberCount()}
		counts := []int{0, len(m.wild)}
		for _, t := range types {
			got, counts = append(got, n.Bus.SubscriberCountFor(t)), append(counts, len(m.typed[t]))
			counts[0] += len(m.typed[t])
		}
		if did != want || !slices.Equal(got, counts) {
			s.Fatalf("step %d, %s: succeeded %v, want %v; counts (all, wildcard, each type) %v, want %v", step, act, did, want, got, counts)
		}
	}
}
