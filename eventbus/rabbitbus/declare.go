package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TopologyError reports an exchange or a queue that is not as it should be: it
// is missing, or differs from what was asked for in an argument.
type TopologyError struct {
	Kind     string // "exchange" or "queue"
	Name     string // of the exchange or queue
	Argument string // the one that differs; empty when it is not about one
	Want     string // as the broker tells it
	Have     string // what the broker has
	Err      error  // the broker's answer
}

// Error tells what differs and what to do.
func (e *TopologyError) Error() string {
	switch {
	case e.Argument != "":
		return fmt.Sprintf("rabbitbus: declare %s %q: it is there with another %s (is %s, asked for %s): %s",
			e.Kind, e.Name, e.Argument, e.Have, e.Want, e.advice())
	case brokerCode(e.Err) == amqp.NotFound:
		return fmt.Sprintf("rabbitbus: check %s %q: it is missing: declare it, or use TopologyDeclare", e.Kind, e.Name)
	}
	return fmt.Sprintf("rabbitbus: declare %s %q: %v", e.Kind, e.Name, e.Err)
}

// Unwrap returns the broker's answer.
func (e *TopologyError) Unwrap() error { return e.Err }

func (e *TopologyError) advice() string {
	switch e.Argument {
	case "x-queue-type":
		return "set QueueType to the one it has, or delete it when it is empty, or use TopologyPassive"
	case "x-dead-letter-exchange", "x-dead-letter-routing-key":
		return "set DisableDLQ as the others of the group do, or delete it when it is empty, or use TopologyPassive"
	case "type":
		return "set ExchangeType to the one it has, or delete it"
	case "durable":
		return "set Transient as it is, or delete it when it is empty"
	}
	return "set it as it is, in QueueArguments for instance, or delete it when it is empty, or use TopologyPassive"
}

// How the broker says what differs, since 3.8 and up to 4.2.
var inequivalent = regexp.MustCompile(
	`inequivalent arg '([^']*)' for \w+ '[^']*' in vhost '[^']*': received (?:the value )?(.+?)(?: of type '\w+')? but current is (.+)$`)

// bare strips what the broker says around a value.
func bare(value string) string {
	value, _, _ = strings.Cut(strings.TrimPrefix(value, "the value "), " of type ")
	return strings.Trim(value, "'")
}

func topologyError(kind, name string, err error) error {
	if err == nil || brokerCode(err) == 0 {
		return err
	}
	t := &TopologyError{Kind: kind, Name: name, Err: refused(err)}
	var answer *amqp.Error
	if errors.As(err, &answer) {
		if found := inequivalent.FindStringSubmatch(answer.Reason); found != nil {
			t.Argument, t.Want, t.Have = found[1], bare(found[2]), bare(found[3])
		}
	}
	return t
}

// ensure does what mode says about the plan.
func (c *Client) ensure(ctx context.Context, mode TopologyMode, plan Topology) error {
	if mode == TopologyNone {
		return nil
	}
	return c.do(ctx, func(ch *amqp.Channel) error {
		if mode == TopologyPassive {
			return check(ch, plan)
		}
		return declare(ch, plan)
	})
}

func check(ch *amqp.Channel, plan Topology) error {
	for _, e := range plan.Exchanges {
		err := ch.ExchangeDeclarePassive(e.Name, string(e.Type), e.Durable, e.AutoDelete, false, false, nil)
		if err := topologyError("exchange", e.Name, err); err != nil {
			return err
		}
	}
	for _, q := range plan.Queues {
		_, err := ch.QueueDeclarePassive(q.Name, q.Durable, q.AutoDelete, false, false, nil)
		if err := topologyError("queue", q.Name, err); err != nil {
			return err
		}
	}
	return nil
}

// declare makes what is missing: exchanges, then queues, then bindings.
func declare(ch *amqp.Channel, plan Topology) error {
	for _, e := range plan.Exchanges {
		err := ch.ExchangeDeclare(e.Name, string(e.Type), e.Durable, e.AutoDelete, false, false, e.Arguments)
		if err := topologyError("exchange", e.Name, err); err != nil {
			return err
		}
	}
	for _, q := range plan.Queues {
		_, err := ch.QueueDeclare(q.Name, q.Durable, q.AutoDelete, false, false, q.Arguments)
		if err := topologyError("queue", q.Name, err); err != nil {
			return err
		}
	}
	for _, b := range plan.Bindings {
		if err := ch.QueueBind(b.Queue, b.RoutingKey, b.Exchange, false, b.Arguments); err != nil {
			return fmt.Errorf("rabbitbus: bind %q to %q by %q: %w", b.Queue, b.Exchange, b.RoutingKey, refused(err))
		}
	}
	return nil
}
