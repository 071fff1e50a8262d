package main

import (
	"context"
	"encoding/json"
	"maps"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
)

// This file is what leat and the service need of each other: a name for an event
// that both know. leat has it in the metadata event_type, the cqrs component in
// "name". Nothing is changed in the service.

// nameKey is the cqrs component's metadata.
const nameKey = "name"

// adopt makes events of the service's messages: the type from its metadata, the
// aggregate from its JSON. What leat has published passes as it is. It is a
// middleware of the whole bus, before anything is decoded; a message that it
// cannot make an event of becomes a letter, as it came.
func adopt(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if msg.Metadata[eventbus.KeyEventType] != "" || msg.Metadata[nameKey] == "" {
			return next(msg)
		}
		own := message.NewMessage(msg.UUID, msg.Payload)
		own.Metadata = maps.Clone(msg.Metadata)
		own.Metadata[eventbus.KeyEventType] = msg.Metadata[nameKey]
		own.Metadata[eventbus.KeyAggregateID] = orderOf(msg)
		own.SetContext(msg.Context()) // wrap a message's context or keep it, never replace it
		return next(own)
	}
}

// orderOf is the key: events of one order are handled one at a time and in order,
// whoever has published them.
func orderOf(msg *message.Message) string {
	if id := msg.Metadata[eventbus.KeyAggregateID]; id != "" {
		return id
	}
	var e struct {
		OrderID string `json:"order_id"`
	}
	_ = json.Unmarshal(msg.Payload, &e) // no JSON, no key
	return e.OrderID
}

// naming is the other direction: a publisher that adds the name which the
// service's cqrs component looks for.
type naming struct{ eventbus.BatchPublisher }

// Publish adds the name.
func (n naming) Publish(topic string, msgs ...*message.Message) error {
	return n.BatchPublisher.Publish(topic, named(msgs)...)
}

// PublishBatch adds the name; with it a bus keeps its batches, and learns what
// became of each event.
func (n naming) PublishBatch(ctx context.Context, topic string, msgs []*message.Message) []error {
	return n.BatchPublisher.PublishBatch(ctx, topic, named(msgs))
}

func named(msgs []*message.Message) []*message.Message {
	for _, msg := range msgs { // they are the bus's, made for this publish
		if msg.Metadata[nameKey] == "" {
			msg.Metadata[nameKey] = msg.Metadata[eventbus.KeyEventType]
		}
	}
	return msgs
}

// placedOrder and sentParcel are the service's events as leat knows them: the
// same fields, and a Base. JSON of the one is JSON of the other.
type (
	placedOrder struct {
		eventbus.Base
		OrderID string `json:"order_id"`
		Cents   int64  `json:"cents"`
	}
	sentParcel struct {
		eventbus.Base
		OrderID string `json:"order_id"`
		Parcel  string `json:"parcel"`
	}
)

// openBus opens a bus of a group on a subscriber.
func openBus(b *broker, group string, sub message.Subscriber) (*eventbus.Bus, error) {
	reg := eventbus.NewRegistry()
	order := eventbus.AggregateType("Order")
	if err := eventbus.Register[placedOrder](reg, "PlacedOrder", order); err != nil {
		return nil, err
	}
	if err := eventbus.Register[sentParcel](reg, "SentParcel", order); err != nil {
		return nil, err
	}
	letters, err := b.letters(group)
	if err != nil {
		return nil, err
	}
	return eventbus.New(eventbus.Config{
		Publisher: naming{b.publisher}, Subscriber: sub, DeadLetters: letters, Registry: reg,
		Topic: b.topic, Group: group, System: b.name, Key: orderOf,
		Middleware: []message.HandlerMiddleware{adopt}, DrainTimeout: 20 * time.Second,
		OnClose: func(context.Context) error { return sub.Close() }, // given, so nobody else closes it
	})
}

// openShipping is what leat brings: a handler that sends a parcel for each order of
// the service's, and tells the service.
func openShipping(b *broker, books *books) (*eventbus.Bus, error) {
	sub, err := b.subscriber("shipping")
	if err != nil {
		return nil, err
	}
	bus, err := openBus(b, "shipping", sub)
	if err != nil {
		return nil, err
	}
	_, err = eventbus.Subscribe(bus, "ship", func(ctx context.Context, e placedOrder) error {
		toil(5) // longer than orders come: something is always in hand
		sent := &sentParcel{Base: eventbus.NewBase(e.OrderID).CausedBy(&e), OrderID: e.OrderID, Parcel: "p-" + e.OrderID}
		if err := bus.Publish(ctx, sent); err != nil {
			return err
		}
		books.enter("ship", e.OrderID)
		return nil
	})
	return bus, err
}

// openBilling is the service's own billing, on leat.
func openBilling(b *broker, books *books) (*eventbus.Bus, error) {
	sub, err := b.takeover("billing")
	if err != nil {
		return nil, err
	}
	bus, err := openBus(b, "billing", sub)
	if err != nil {
		return nil, err
	}
	_, err = eventbus.Subscribe(bus, "bill", func(_ context.Context, e placedOrder) error {
		toil(1)
		books.enter("billing, leat", e.OrderID)
		return nil
	})
	return bus, err
}
