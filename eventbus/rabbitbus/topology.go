package rabbitbus

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Topology is a plan of exchanges, queues and bindings, argument by argument. It
// prints as text, and can be exported for RabbitMQ to import.
type Topology struct {
	Exchanges []Exchange     // the one for letters included
	Queues    []Queue        // likewise
	Bindings  []QueueBinding // of both
}

// Exchange is one exchange of a [Topology].
type Exchange struct {
	// As in exchange.declare.
	Name       string
	Type       ExchangeType
	Durable    bool
	AutoDelete bool
	Arguments  amqp.Table
}

// Queue is one queue of a [Topology].
type Queue struct {
	// As in queue.declare.
	Name       string
	Durable    bool
	AutoDelete bool
	Arguments  amqp.Table
}

// QueueBinding is one binding of a [Topology].
type QueueBinding struct {
	// Exchange and Queue are their names.
	Exchange string
	Queue    string
	Binding
}

func (t Topology) and(other Topology) Topology {
	return Topology{
		Exchanges: append(slices.Clone(t.Exchanges), other.Exchanges...),
		Queues:    append(slices.Clone(t.Queues), other.Queues...),
		Bindings:  append(slices.Clone(t.Bindings), other.Bindings...),
	}
}

// String lists the plan, one line each.
func (t Topology) String() string {
	var b strings.Builder
	flags := func(durable, autoDelete bool) string {
		text := "transient"
		if durable {
			text = "durable"
		}
		if autoDelete {
			text += " auto-delete"
		}
		return text
	}
	for _, e := range t.Exchanges {
		fmt.Fprintf(&b, "exchange %q %s %s%s\n", e.Name, e.Type, flags(e.Durable, e.AutoDelete), arguments(e.Arguments))
	}
	for _, q := range t.Queues {
		fmt.Fprintf(&b, "queue    %q %s%s\n", q.Name, flags(q.Durable, q.AutoDelete), arguments(q.Arguments))
	}
	for _, q := range t.Bindings {
		fmt.Fprintf(&b, "binding  %q -> %q by %q%s\n", q.Exchange, q.Queue, q.RoutingKey, arguments(q.Arguments))
	}
	return b.String()
}

func arguments(args amqp.Table) string {
	var b strings.Builder
	for _, k := range sortedKeys(args) {
		fmt.Fprintf(&b, " %s=%v", k, args[k])
	}
	return b.String()
}

func sortedKeys(t amqp.Table) []string {
	keys := make([]string, 0, len(t))
	for k := range t {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Definitions returns the plan in the format that RabbitMQ imports
// (rabbitmqctl import_definitions, or load_definitions in its configuration),
// for a virtual host.
func (t Topology) Definitions(vhost string) ([]byte, error) {
	type m = map[string]any
	args := func(t amqp.Table) any {
		if t == nil {
			return m{}
		}
		return t
	}
	exchanges, queues, bindings := []m{}, []m{}, []m{}
	for _, e := range t.Exchanges {
		exchanges = append(exchanges, m{
			"name": e.Name, "vhost": vhost, "type": e.Type, "durable": e.Durable, "auto_delete": e.AutoDelete,
			"internal": false, "arguments": args(e.Arguments),
		})
	}
	for _, q := range t.Queues {
		queues = append(queues, m{
			"name": q.Name, "vhost": vhost, "durable": q.Durable, "auto_delete": q.AutoDelete, "arguments": args(q.Arguments),
		})
	}
	for _, q := range t.Bindings {
		bindings = append(bindings, m{
			"source": q.Exchange, "vhost": vhost, "destination": q.Queue, "destination_type": "queue",
			"routing_key": q.RoutingKey, "arguments": args(q.Arguments),
		})
	}
	return json.MarshalIndent(m{"exchanges": exchanges, "queues": queues, "bindings": bindings}, "", "  ")
}
