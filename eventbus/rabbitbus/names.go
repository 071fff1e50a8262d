package rabbitbus

import (
	"fmt"
	"strings"
)

// System names RabbitMQ in deliveries, spans and metrics.
const System = "rabbitmq"

// maxShort is how many bytes AMQP has room for in a name or a routing key.
const maxShort = 255

// QueueName returns the queue of a consumer group: {exchange}.{group}.
func QueueName(exchange, group string) string { return exchange + "." + group }

// DeadExchangeName returns the direct exchange of the dead letters.
func DeadExchangeName(exchange string) string { return exchange + "_dlq" }

// DeadQueueName returns the queue that holds the letters of a queue; the
// routing key to it is the name of the queue.
func DeadQueueName(queue string) string { return queue + ".dlq" }

// RoutingKey returns the routing key of an event: {aggregate_type}.{event_type}.
// Within a name, what means something to a topic exchange is escaped ("." is
// "%2E", "*" "%2A", "#" "%23", "%" "%25"), so that no name changes how many
// words a key has or what a pattern matches.
func RoutingKey(aggregateType, eventType string) string {
	if aggregateType == "" && eventType == "" {
		return ""
	}
	return escape(aggregateType) + "." + escape(eventType)
}

func escape(name string) string {
	if !strings.ContainsAny(name, ".*#%") {
		return name
	}
	return strings.NewReplacer(".", "%2E", "*", "%2A", "#", "%23", "%", "%25").Replace(name)
}

func checkShort(what, name string) error {
	if len(name) > maxShort {
		return fmt.Errorf("%s has %d bytes, AMQP has room for %d", what, len(name), maxShort)
	}
	return nil
}
