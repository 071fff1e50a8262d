package rabbitbus

import (
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What another consumer of the channel was sent has its place by its tag, however
// late the others are received.
func TestArrivals_StraysKeepTheirPlace(t *testing.T) {
	var a arrivals
	var order []uint64
	take := func() {
		for {
			d, ok := a.next()
			if !ok {
				return
			}
			order = append(order, d.DeliveryTag)
		}
	}
	a.add(amqp.Delivery{DeliveryTag: 1})
	a.strays = append(a.strays, amqp.Delivery{DeliveryTag: 3})
	take()
	if !slices.Equal(order, []uint64{1}) {
		t.Fatalf("taken %v before 2 is there", order)
	}
	a.strays = append(a.strays, amqp.Delivery{DeliveryTag: 5})
	for _, tag := range []uint64{2, 4, 6} {
		a.add(amqp.Delivery{DeliveryTag: tag})
	}
	take()
	if want := []uint64{1, 2, 3, 4, 5, 6}; !slices.Equal(order, want) {
		t.Errorf("taken %v, want %v", order, want)
	}
}
