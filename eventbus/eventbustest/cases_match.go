package eventbustest

import (
	"context"

	"github.com/leat-go/leat/eventbus"
)

func matchCases() []Case {
	return []Case{
		{
			Name: "WireNameDecides", run: wireNameDecides,
			Why: "events find their handlers by wire name alone: two types of one Go name do not mix",
		},
		{
			Name: "AliasArrives", Need: []Feature{Broker}, run: aliasArrives,
			Why: "an event that was published under a type's old name arrives as the present type",
		},
		{
			Name: "EqualPrefixesDoNotMix", run: prefixesDoNotMix,
			Why: "wire names match exactly: one that is the beginning of another, or differs in case, is another",
		},
	}
}

// twin is one of two types that have one Go name.
type twin struct {
	register  func(reg *eventbus.Registry, name string) error
	subscribe func(bus eventbus.AnyBus, got func(string)) error
	event     eventbus.Event
}

func firstTwin() twin {
	type renamed struct {
		eventbus.Base
		One string `json:"one"`
	}
	return twin{
		register: func(reg *eventbus.Registry, name string) error { return eventbus.Register[renamed](reg, name) },
		subscribe: func(bus eventbus.AnyBus, got func(string)) error {
			_, err := eventbus.Subscribe(bus, "one", func(_ context.Context, e renamed) error { got("one " + e.EventType + " " + e.One); return nil })
			return err
		},
		event: &renamed{Base: eventbus.NewBase("k"), One: "1"},
	}
}

func secondTwin() twin {
	type renamed struct {
		eventbus.Base
		Two string `json:"two"`
	}
	return twin{
		register: func(reg *eventbus.Registry, name string) error { return eventbus.Register[renamed](reg, name) },
		subscribe: func(bus eventbus.AnyBus, got func(string)) error {
			_, err := eventbus.Subscribe(bus, "two", func(_ context.Context, e renamed) error { got("two " + e.EventType + " " + e.Two); return nil })
			return err
		},
		event: &renamed{Base: eventbus.NewBase("k"), Two: "2"},
	}
}

func wireNameDecides(s *session) { s.twins("Invoice.Sent", "renamed") }

func prefixesDoNotMix(s *session) {
	s.twins("Order", "OrderPlace")
	s.twins("ORDERPLACED", "order")
}

// twins registers two types under two names, and wants each to get its own.
func (s *session) twins(first, second string) {
	s.Helper()
	reg := newRegistry(s)
	one, two := firstTwin(), secondTwin()
	for name, t := range map[string]twin{first: one, second: two} {
		if err := t.register(reg, name); err != nil {
			s.Fatal(err)
		}
	}
	n := s.start(func(o *Options) { o.Registry = reg; o.Topic += "-" + first })
	got := make(chan string, 10)
	placed := n.record("bystander")
	for _, t := range []twin{one, two} {
		if err := t.subscribe(n.Bus, func(what string) { got <- what }); err != nil {
			s.Fatal(err)
		}
	}
	n.publish(one.event, two.event)
	want := map[string]bool{"one " + first + " 1": true, "two " + second + " 2": true}
	for range 2 {
		what := wait(s, got, "both events handled")
		if !want[what] {
			s.Errorf("handled %q, want each of %v once", what, want)
		}
		delete(want, what)
	}
	n.stop()
	if len(got) > 0 || placed.Len() > 0 {
		s.Errorf("%d and %d events went to handlers of other types", len(got), placed.Len())
	}
}

func aliasArrives(s *session) {
	old := eventbus.NewRegistry()
	if err := eventbus.Register[placed](old, "OrderMade", eventbus.AggregateType("Order")); err != nil {
		s.Fatal(err)
	}
	now := eventbus.NewRegistry()
	if err := eventbus.Register[placed](now, placedName, eventbus.Alias("OrderMade", "order.made")); err != nil {
		s.Fatal(err)
	}
	reader := s.start(func(o *Options) { o.Registry = now })
	got := reader.record("reader")
	writer := s.open(func(o *Options) { o.Registry = old })
	e := place("k", 7)
	writer.publish(e)
	got.Want(s, e)
	if r := EventsOf[placed](got)[0]; r.EventType != placedName || r.N != 7 {
		s.Errorf("arrived as %q with N %d, want %q with 7", r.EventType, r.N, placedName)
	}
}
