package rabbitbus_test

import (
	"fmt"

	"github.com/leat-go/leat/eventbus/rabbitbus"
)

// What a bus declares can be looked at without a broker.
func ExampleConfig_Plan() {
	cfg := rabbitbus.Config{ExchangeName: "orders", ConsumerGroup: "billing", RoutingKeyPattern: "Order.*"}
	fmt.Print(cfg.Plan())
	// Output:
	// exchange "orders" topic durable
	// exchange "orders_dlq" direct durable
	// queue    "orders.billing" durable x-dead-letter-exchange=orders_dlq x-dead-letter-routing-key=orders.billing x-dead-letter-strategy=at-least-once x-delivery-limit=20 x-overflow=reject-publish x-queue-type=quorum
	// queue    "orders.billing.dlq" durable x-delivery-limit=1000000000 x-queue-type=quorum
	// binding  "orders_dlq" -> "orders.billing.dlq" by "orders.billing"
	// binding  "orders" -> "orders.billing" by "Order.*"
}

// A name cannot change how its events are routed.
func ExampleRoutingKey() {
	fmt.Println(rabbitbus.RoutingKey("Order", "OrderCreated"))
	fmt.Println(rabbitbus.RoutingKey("Order", "v2.OrderCreated"))
	// Output:
	// Order.OrderCreated
	// Order.v2%2EOrderCreated
}
