package eventbustest

import (
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus"
)

// placed is the suite's main event, with a field of every kind.
type placed struct {
	eventbus.Base
	N      int               `json:"n"`
	Text   string            `json:"text"`
	Maybe  *string           `json:"maybe"`
	Bytes  []byte            `json:"bytes"`
	Big    int64             `json:"big"`
	Huge   uint64            `json:"huge"`
	Ratio  float64           `json:"ratio"`
	Flag   bool              `json:"flag"`
	When   time.Time         `json:"when"`
	List   []string          `json:"list"`
	Map    map[string]string `json:"map"`
	Nested nested            `json:"nested"`
}

type nested struct {
	A string   `json:"a"`
	B []nested `json:"b"`
}

// shipped and returned are others.
type shipped struct {
	eventbus.Base
	N int `json:"n"`
}

type returned struct {
	eventbus.Base
	N int `json:"n"`
}

// stranger is registered nowhere.
type stranger struct {
	eventbus.Base
}

// The wire names have nothing to do with the Go names.
const (
	placedName   = "OrderPlaced"
	shippedName  = "order.shipped:v1"
	returnedName = "Order/Returned"
)

func newRegistry(t testing.TB) *eventbus.Registry {
	t.Helper()
	reg := eventbus.NewRegistry()
	for _, err := range []error{
		eventbus.Register[placed](reg, placedName, eventbus.AggregateType("Order")),
		eventbus.Register[shipped](reg, shippedName, eventbus.AggregateType("Order")),
		eventbus.Register[returned](reg, returnedName, eventbus.AggregateType("Order")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return reg
}

func place(key string, n int) *placed {
	return &placed{Base: eventbus.NewBase(key), N: n}
}

func ship(key string, n int) *shipped {
	return &shipped{Base: eventbus.NewBase(key), N: n}
}

// series returns n events of one key.
func series(key string, n int) []eventbus.Event {
	events := make([]eventbus.Event, n)
	for i := range events {
		events[i] = place(key, i)
	}
	return events
}
