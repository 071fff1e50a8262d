package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

func inputCases() []Case {
	return []Case{
		{
			Name: "BadEventsAreRefused", Laws: []int{1, 5}, run: badEvents,
			Why: "an event that is nil, of an unregistered type, too large or malformed is refused with a typed error, nothing is sent, and the bus goes on",
		},
		{
			Name: "BadHandlersAreRefused", run: badHandlers,
			Why: "a nil handler, an unknown type, a name with spaces or of a megabyte is refused with a typed error that says so",
		},
		{
			Name: "BadConfigIsToldWhole", run: badConfig,
			Why: "a configuration with five mistakes is refused with all five told",
		},
		{
			Name: "OneTopicTwiceInAProcess", run: sameTopicTwice,
			Why: "two buses on one topic and group in one process work side by side",
		},
	}
}

func badEvents(s *session) {
	n := s.start(func(o *Options) {
		if s.has(Broker) {
			o.MaxPayloadBytes = 10_000
		}
	})
	got := n.recordAll("reader")
	with := func(change func(*placed)) eventbus.Event {
		e := place("k", 1)
		change(e)
		return e
	}
	bad := map[string]struct {
		event eventbus.Event
		is    error
	}{
		"nil":                     {nil, eventbus.ErrInvalidEvent},
		"a nil pointer":           {(*placed)(nil), eventbus.ErrInvalidEvent},
		"an unregistered type":    {&stranger{Base: eventbus.NewBase("k")}, eventbus.ErrUnregistered},
		"no event id":             {with(func(e *placed) { e.EventID = "" }), eventbus.ErrInvalidEvent},
		"no aggregate id":         {with(func(e *placed) { e.AggregateID = "" }), eventbus.ErrInvalidEvent},
		"no time":                 {with(func(e *placed) { e.OccurredAt = time.Time{} }), eventbus.ErrInvalidEvent},
		"another type's name":     {with(func(e *placed) { e.EventType = shippedName }), eventbus.ErrInvalidEvent},
		"a line break in the key": {with(func(e *placed) { e.AggregateID = "a\r\nb" }), eventbus.ErrInvalidEvent},
		"an id of 1 MB":           {with(func(e *placed) { e.EventID = strings.Repeat("x", 1<<20) }), eventbus.ErrInvalidEvent},
		"a NUL in the tenant":     {with(func(e *placed) { e.TenantID = "\x00" }), eventbus.ErrInvalidEvent},
		"a bad aggregate type":    {with(func(e *placed) { e.AggregateType = "a b" }), eventbus.ErrInvalidEvent},
	}
	if s.has(Broker) { // in memory nothing is encoded
		bad["a payload over the limit"] = struct {
			event eventbus.Event
			is    error
		}{with(func(e *placed) { e.Text = strings.Repeat("x", 10_001) }), codec.ErrTooLarge}
	}
	ctx := s.ctx()
	for what, c := range bad {
		for verb, publish := range map[string]func(context.Context, ...eventbus.Event) error{
			"Publish": n.Bus.Publish, "PublishInBackground": n.Bus.PublishInBackground,
		} {
			err := publish(ctx, place("k", 0), c.event)
			var told *eventbus.PublishError
			if !errors.Is(err, c.is) || !errors.As(err, &told) {
				s.Errorf("%s of %s: error %v, want a *PublishError with %v", verb, what, err, c.is)
				continue
			}
			if len(err.Error()) > 1000 {
				s.Errorf("%s of %s: the error has %d bytes", verb, what, len(err.Error()))
			}
			for i, r := range told.Results {
				if r.Outcome != eventbus.Refused {
					s.Errorf("%s of %s: event %d is %v, want refused: nothing may be sent", verb, what, i, r.Outcome)
				}
			}
		}
	}
	good := place("k", 2)
	n.publish(good)
	got.Want(s, good)
	n.stop()
	if got.Len() != 1 {
		s.Errorf("%d events arrived, want only the good one: %v", got.Len(), list(describe(got.Events())))
	}
}

func badHandlers(s *session) {
	n := s.open()
	h := eventbus.HandlerFunc(func(context.Context, eventbus.Event) error { return nil })
	typed := eventbus.TypeFor[placed]()
	add := func(t eventbus.Type, name string, h eventbus.Handler, opts ...eventbus.SubscribeOption) error {
		_, err := n.Bus.SubscribeHandler(t, name, h, opts...)
		return err
	}
	wild := func(name string, h eventbus.Handler) error {
		_, err := n.Bus.SubscribeToAllEvents(name, h)
		return err
	}
	all := func(p eventbus.EventSubscriber) error {
		_, err := n.Bus.SubscribeAll(p)
		return err
	}
	_, unregistered := eventbus.Subscribe(n.Bus, "h", func(context.Context, stranger) error { return nil })
	_, nilFunc := eventbus.Subscribe[placed](n.Bus, "h", nil)
	for what, c := range map[string]struct{ err, is error }{
		"a type that the registry does not know":  {unregistered, eventbus.ErrUnregistered},
		"no type":                                 {add(eventbus.Type{}, "h", h), eventbus.ErrUnregistered},
		"a nil function":                          {nilFunc, eventbus.ErrNilHandler},
		"a nil handler":                           {add(typed, "h", nil), eventbus.ErrNilHandler},
		"a nil handler function":                  {add(typed, "h", eventbus.HandlerFunc(nil)), eventbus.ErrNilHandler},
		"a nil pointer":                           {add(typed, "h", (*Recorder)(nil)), eventbus.ErrNilHandler},
		"a nil wildcard":                          {wild("h", nil), eventbus.ErrNilHandler},
		"a nil subscriber":                        {all(nil), eventbus.ErrNilHandler},
		"an empty name":                           {add(typed, "", h), eventbus.ErrInvalidName},
		"a name with spaces":                      {add(typed, "send invoice", h), eventbus.ErrInvalidName},
		"a name with a comma":                     {add(typed, "a,b", h), eventbus.ErrInvalidName},
		"a name with a line break":                {wild("a\nb", h), eventbus.ErrInvalidName},
		"a name of 1 MB":                          {add(typed, strings.Repeat("n", 1<<20), h), eventbus.ErrInvalidName},
		"a subscriber with a bad name":            {all(&projection{name: "a b", types: []eventbus.Type{typed}}), eventbus.ErrInvalidName},
		"a subscriber with an unknown type":       {all(&projection{name: "p", types: []eventbus.Type{typed, eventbus.TypeFor[stranger]()}}), eventbus.ErrUnregistered},
		"a retry policy with a negative base":     {add(typed, "h", h, eventbus.WithRetry(middleware.Retry{BaseDelay: -1})), nil},
		"a nil middleware":                        {add(typed, "h", h, eventbus.WithMiddleware(nil)), nil},
		"a subscriber whose second type is taken": {twice(n), eventbus.ErrDuplicate},
	} {
		var refused *eventbus.SubscribeError
		if c.err == nil || !errors.As(c.err, &refused) || (c.is != nil && !errors.Is(c.err, c.is)) {
			s.Errorf("%s: error %v, want a *SubscribeError with %v", what, c.err, c.is)
			continue
		}
		if len(c.err.Error()) > 1000 {
			s.Errorf("%s: the error has %d bytes", what, len(c.err.Error()))
		}
	}
	if got, wildcards := n.Bus.SubscriberCount(), n.Bus.WildcardSubscriberCount(); got != 1 || wildcards != 0 {
		s.Errorf("%d handlers and %d wildcards after all the refusals, want 1 and 0", got, wildcards)
	}
}

// twice subscribes one handler, and then a subscriber whose second type has
// that name taken: none of its types may stay.
func twice(n *node) error {
	n.s.Helper()
	name := "taken"
	if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[shipped](), name, &Recorder{}); err != nil {
		n.s.Fatal(err)
	}
	_, err := n.Bus.SubscribeAll(&projection{name: name, types: []eventbus.Type{eventbus.TypeFor[placed](), eventbus.TypeFor[shipped]()}})
	return err
}

func badConfig(s *session) {
	in, err := s.tryOpen(func(o *Options) {
		o.Topic, o.Group = "or ders", "bil ling"
		o.MaxBackground, o.DrainTimeout = -3, -7*time.Second
		o.Retry = middleware.Retry{Multiplier: 0.125}
	})
	if err == nil {
		s.Cleanup(func() { _, _ = in.Bus.Shutdown(context.Background()) })
		s.Fatal("the bus opened")
	}
	for what, told := range map[string]string{
		"Topic": "or ders", "Group": "bil ling", "MaxBackground": "-3", "DrainTimeout": "-7s", "Retry.Multiplier": "0.125",
	} {
		if !strings.Contains(err.Error(), told) {
			s.Errorf("the error says nothing of %s (%s):\n%v", what, told, err)
		}
	}
	if _, err := s.tryOpen(func(o *Options) { o.Registry = nil }); err == nil || !strings.Contains(err.Error(), "Registry") {
		s.Errorf("without a registry: error %v, want one that names it", err)
	}
}

func sameTopicTwice(s *session) {
	fast := func(o *Options) { o.FastRecovery = true }
	a, b := s.open(fast), s.open(fast)
	var ledger Ledger
	for _, n := range []*node{a, b} {
		// One name: in a group, whoever gets the event does it for both.
		if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", ledger.Handler("reader", nil)); err != nil {
			s.Fatal(err)
		}
		n.run()
	}
	for i, n := range []*node{a, b} {
		if err := ledger.Publish(s.ctx(), n.Bus, place(fmt.Sprintf("k%d", i), i)); err != nil {
			s.Fatalf("publish: %v", err)
		}
	}
	s.until("both events handled", func() bool { return ledger.Finished("reader") == 2 }, func() any { return ledger.Finished("reader") })
	a.stop()
	if err := ledger.Publish(s.ctx(), b.Bus, place("k2", 2)); err != nil {
		s.Fatalf("publish after the other bus was shut down: %v", err)
	}
	s.until("the bus that is left goes on", func() bool { return ledger.Finished("reader") == 3 }, func() any { return ledger.Finished("reader") })
	ledger.Check(s)
}
