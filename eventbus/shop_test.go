package eventbus_test

import (
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The events of the tests.

type OrderCreated struct {
	eventbus.Base
	CustomerID string  `json:"customer_id"`
	Amount     float64 `json:"amount"`
	Note       *string `json:"note"`
}

type OrderShipped struct {
	eventbus.Base
	TrackingNumber string `json:"tracking_number"`
}

// parcelSent has a Go name that has nothing to do with its wire name.
type parcelSent struct {
	eventbus.Base
	Weight int `json:"weight"`
}

func shop(t testing.TB) *eventbus.Registry {
	t.Helper()
	reg := eventbus.NewRegistry()
	for _, err := range []error{
		eventbus.Register[OrderCreated](reg, "OrderCreated", eventbus.AggregateType("Order")),
		eventbus.Register[OrderShipped](reg, "OrderShipped", eventbus.AggregateType("Order"), eventbus.Alias("OrderSent", "order.sent")),
		eventbus.Register[parcelSent](reg, "ParcelSent", eventbus.AggregateType("Parcel")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return reg
}

func created(aggregate string) *OrderCreated {
	return &OrderCreated{Base: eventbus.NewBase(aggregate), CustomerID: "c-1", Amount: 12.5}
}
