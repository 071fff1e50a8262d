package eventbus_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/eventbus"
)

func TestRegister_RefusesWhatCannotBeToldApart(t *testing.T) {
	reg := shop(t)
	cases := map[string]struct {
		err  error
		want error
	}{
		"a name that is taken":        {eventbus.Register[other](reg, "OrderCreated"), eventbus.ErrDuplicate},
		"a name that is an alias":     {eventbus.Register[other](reg, "order.sent"), eventbus.ErrDuplicate},
		"an alias that is a name":     {eventbus.Register[other](reg, "Other", eventbus.Alias("OrderCreated")), eventbus.ErrDuplicate},
		"an alias of its own name":    {eventbus.Register[other](reg, "Other", eventbus.Alias("Other")), eventbus.ErrDuplicate},
		"a type that has a name":      {eventbus.Register[OrderCreated](reg, "Created"), eventbus.ErrDuplicate},
		"no name":                     {eventbus.Register[other](reg, ""), eventbus.ErrInvalidName},
		"a name with a space":         {eventbus.Register[other](reg, "Order Created"), eventbus.ErrInvalidName},
		"a name of 1 MB":              {eventbus.Register[other](reg, strings.Repeat("x", 1<<20)), eventbus.ErrInvalidName},
		"a routing wildcard":          {eventbus.Register[other](reg, "Order#"), eventbus.ErrInvalidName},
		"an empty alias":              {eventbus.Register[other](reg, "Other", eventbus.Alias("")), eventbus.ErrInvalidName},
		"an aggregate type with LF":   {eventbus.Register[other](reg, "Other", eventbus.AggregateType("a\nb")), eventbus.ErrInvalidName},
		"a version below 1":           {eventbus.Register[other](reg, "Other", eventbus.Version(-1)), nil},
		"a field of the base's name":  {eventbus.Register[shadowing](reg, "Shadowing"), nil},
		"a base that is not first":    {eventbus.Register[late](reg, "Late"), nil},
		"a registry that is nil":      {eventbus.Register[other](nil, "Other"), nil},
		"a type that marshals itself": {eventbus.Register[marshalling](reg, "Marshalling"), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var re *eventbus.RegistrationError
			if !errors.As(c.err, &re) {
				t.Fatalf("err = %v, want a *RegistrationError", c.err)
			}
			if c.want != nil && !errors.Is(c.err, c.want) {
				t.Errorf("err = %v, want it to wrap %v", c.err, c.want)
			}
			if len(c.err.Error()) > 2000 {
				t.Errorf("the text has %d bytes", len(c.err.Error()))
			}
		})
	}
	if names := reg.Names(); !slices.Equal(names, []string{"OrderCreated", "OrderShipped", "ParcelSent"}) {
		t.Errorf("after the refusals the names are %v", names)
	}
}

func TestRegistry_TheZeroValueIsReady(t *testing.T) {
	var reg eventbus.Registry
	if names := reg.Names(); len(names) != 0 {
		t.Errorf("names %v, want none", names)
	}
	if err := eventbus.Register[other](&reg, "Other"); err != nil {
		t.Fatal(err)
	}
	if names := reg.Names(); !slices.Equal(names, []string{"Other"}) {
		t.Errorf("names %v, want Other", names)
	}
}

type other struct{ eventbus.Base }

type shadowing struct {
	eventbus.Base
	Tenant string `json:"tenant_id"`
}

type late struct {
	Weight int `json:"weight"`
	eventbus.Base
}

type marshalling struct {
	eventbus.Base
	json.RawMessage // its MarshalJSON is promoted, and would be the event's
}

func TestRegistry_SeveralInOneProcessDoNotMix(t *testing.T) {
	first, second := eventbus.NewRegistry(), eventbus.NewRegistry()
	if err := errors.Join(
		eventbus.Register[OrderCreated](first, "OrderCreated"),
		eventbus.Register[OrderCreated](second, "order_created"),
	); err != nil {
		t.Fatal(err)
	}
	a, _ := first.NameOf(&OrderCreated{})
	b, _ := second.NameOf(&OrderCreated{})
	if a != "OrderCreated" || b != "order_created" {
		t.Errorf("names = %q, %q", a, b)
	}
	if name, ok := first.NameOf(&OrderShipped{}); ok {
		t.Errorf("an unregistered type has the name %q", name)
	}
}

func TestBase_CausedByContinuesTheStory(t *testing.T) {
	parent := created("order-1")
	child := eventbus.NewBase("order-2").CausedBy(parent)
	if child.CorrelationID != parent.CorrelationID || child.CausationID != parent.EventID {
		t.Errorf("child = %+v, parent = %+v", child, parent.Base)
	}
	if child.EventID == parent.EventID || child.EventID == "" {
		t.Errorf("child has the id %q, parent %q", child.EventID, parent.EventID)
	}
	foreign := &OrderCreated{Base: eventbus.Base{EventID: "e-1"}}
	if c := eventbus.NewBase("x").CausedBy(foreign); c.CorrelationID != "e-1" {
		t.Errorf("without a correlation id the parent's event id begins the story, got %q", c.CorrelationID)
	}
}
