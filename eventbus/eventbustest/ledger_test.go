package eventbustest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/eventbustest"
)

// says is a bus whose Publish returns what the test wants.
type says func([]eventbus.Event) error

func (s says) Publish(_ context.Context, events ...eventbus.Event) error { return s(events) }

func confirms([]eventbus.Event) error { return nil }

func outcomes(outcomes ...eventbus.Outcome) says {
	return func(events []eventbus.Event) error {
		pe := &eventbus.PublishError{}
		for i, e := range events {
			pe.Results = append(pe.Results, eventbus.Result{EventID: e.EventBase().EventID, Outcome: outcomes[i]})
		}
		return pe
	}
}

func TestLedger_FindsWhatIsWrong(t *testing.T) {
	a, b, c := order(1), order(2), order(3)
	handle := func(h eventbus.Handler, events ...eventbus.Event) {
		for _, e := range events {
			_ = h.Handle(t.Context(), e)
		}
	}
	type story struct {
		l *eventbustest.Ledger
		h eventbus.Handler // always succeeds
	}
	failing := eventbus.HandlerFunc(func(context.Context, eventbus.Event) error { return errors.New("no") })
	for name, s := range map[string]struct {
		ledger *eventbustest.Ledger
		tell   func(story)
		want   string // in the only problem; empty: none
	}{
		"all is well": {&eventbustest.Ledger{Ordered: true, Once: true}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a, b)
			handle(s.h, a, b)
		}, ""},
		"a confirmed event is lost": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a, b)
			handle(s.h, a)
		}, "lost: " + b.EventID},
		"one that only failed is lost too": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a)
			handle(s.l.Handler("h", failing), a)
		}, "lost: " + a.EventID},
		"unless it is buried for its handler": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a)
			s.l.Letter(dlq.Letter{MessageID: a.EventID, Handlers: []string{"other", "h"}})
		}, ""},
		"or for nobody in particular": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a)
			s.l.Letter(dlq.Letter{MessageID: a.EventID})
		}, ""},
		"a letter for another handler": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a)
			s.l.Letter(dlq.Letter{MessageID: a.EventID, Handlers: []string{"other"}})
		}, "lost: " + a.EventID},
		"unknown may be lost or not": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), outcomes(eventbus.Confirmed, eventbus.Unknown, eventbus.Unknown), a, b, c)
			handle(s.h, a, b)
		}, ""},
		"refused and handled all the same": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), outcomes(eventbus.Refused), a)
			handle(s.h, a)
		}, "said was refused"},
		"closed counts as refused": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), says(func([]eventbus.Event) error { return eventbus.ErrClosed }), a)
		}, ""},
		"handled and never published": {&eventbustest.Ledger{}, func(s story) { handle(s.h, a) }, "invented"},
		"buried and never published":  {&eventbustest.Ledger{}, func(s story) { s.l.Letter(dlq.Letter{MessageID: "x"}) }, "was not published"},
		"a result is missing": {&eventbustest.Ledger{}, func(s story) {
			_ = s.l.Publish(t.Context(), says(func([]eventbus.Event) error { return &eventbus.PublishError{} }), a)
		}, "0 results"},
		"out of order": {&eventbustest.Ledger{Ordered: true}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a, b)
			handle(s.h, b, a)
		}, "order: handler h began " + b.EventID},
		"out of order across calls": {&eventbustest.Ledger{Ordered: true}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a)
			_ = s.l.Publish(t.Context(), says(confirms), b)
			handle(s.h, b, a)
		}, "order: handler h began " + b.EventID},
		"a repetition is no disorder": {&eventbustest.Ledger{Ordered: true}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a, b)
			handle(s.h, a, b, a)
		}, ""},
		"published again after an unknown": {&eventbustest.Ledger{Ordered: true}, func(s story) {
			_ = s.l.Publish(t.Context(), outcomes(eventbus.Unknown, eventbus.Refused), a, b)
			_ = s.l.Publish(t.Context(), says(confirms), b)
			_ = s.l.Publish(t.Context(), says(confirms), a)
			handle(s.h, b, a)
		}, ""},
		"two of a key at a time": {&eventbustest.Ledger{Ordered: true}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a, b)
			nested := s.l.Handler("h", eventbus.HandlerFunc(func(context.Context, eventbus.Event) error { handle(s.h, b); return nil }))
			handle(nested, a)
		}, "while it still ran"},
		"a repetition": {&eventbustest.Ledger{Once: true}, func(s story) {
			_ = s.l.Publish(t.Context(), says(confirms), a)
			handle(s.h, a, a)
		}, "repeated"},
	} {
		l := s.ledger
		s.tell(story{l, l.Handler("h", nil)})
		got := l.Problems()
		switch {
		case s.want == "" && len(got) > 0:
			t.Errorf("%s: %q, want no problem", name, got)
		case s.want != "" && (len(got) != 1 || !strings.Contains(got[0], s.want)):
			t.Errorf("%s: %q, want one problem with %q", name, got, s.want)
		}
		if told := complaints(t, func(t testing.TB) { l.Check(t) }); (told != "") != (s.want != "") {
			t.Errorf("%s: Check says %q", name, told)
		}
	}
}
