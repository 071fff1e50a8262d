package main

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
)

// This file is the service as it is: Watermill's own pieces, nothing of leat.

// PlacedOrder and SentParcel are its events, as its JSON has them.
type (
	PlacedOrder struct {
		OrderID string `json:"order_id"`
		Cents   int64  `json:"cents"`
	}
	SentParcel struct {
		OrderID string `json:"order_id"`
		Parcel  string `json:"parcel"`
	}
)

// work is how long a handler takes, and how long until the next order comes.
const work = 4 * time.Millisecond

// marshaler writes the name of the type into the metadata "name", where Watermill's
// cqrs component looks for it.
var marshaler = cqrs.JSONMarshaler{GenerateName: cqrs.StructName}

// service is the router with what is on it.
type service struct {
	router  *message.Router
	events  *cqrs.EventBus
	billing *message.Handler // nil when somebody else does that
	bills   message.Subscriber
	ended   chan error
}

// startService runs the service; it is up when it returns.
func startService(ctx context.Context, b *broker, books *books, withBilling bool) (*service, error) {
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	s := &service{router: r, ended: make(chan error, 1)}
	// The cqrs component: mail is sent when a parcel was.
	processor, err := cqrs.NewEventProcessorWithConfig(r, cqrs.EventProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.EventProcessorGenerateSubscribeTopicParams) (string, error) { return b.topic, nil },
		SubscriberConstructor: func(cqrs.EventProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return b.stockSubscriber("mail")
		},
		AckOnUnknownEvent: true, Marshaler: marshaler,
	})
	if err != nil {
		return nil, err
	}
	err1 := processor.AddHandlers(cqrs.NewEventHandler("mail", func(_ context.Context, e *SentParcel) error {
		books.enter("mail", e.OrderID)
		return nil
	}))
	s.events, err = cqrs.NewEventBusWithConfig(b.stockPublisher, cqrs.EventBusConfig{
		GeneratePublishTopic: func(cqrs.GenerateEventPublishTopicParams) (string, error) { return b.topic, nil },
		Marshaler:            marshaler,
	})
	if err := errors.Join(err1, err); err != nil {
		return nil, err
	}
	// A plain handler.
	if withBilling {
		if s.bills, err = b.stockSubscriber("billing"); err != nil {
			return nil, err
		}
		s.billing = r.AddConsumerHandler("billing", b.topic, s.bills, func(msg *message.Message) error {
			var e PlacedOrder
			if marshaler.NameFromMessage(msg) != marshaler.Name(e) {
				return nil
			}
			if err := marshaler.Unmarshal(msg, &e); err != nil {
				return err
			}
			toil(1)
			books.enter("billing, stock", e.OrderID)
			return nil
		})
	}
	go func() { s.ended <- r.Run(context.WithoutCancel(ctx)) }()
	select {
	case <-r.Running():
		return s, nil
	case err := <-s.ended:
		return nil, err
	}
}

// stopBilling stops one handler; the router goes on. What the handler has in
// hand at this moment, stock Watermill handles to the end and does not
// acknowledge: it comes again, to whoever goes on.
func (s *service) stopBilling() error {
	s.billing.Stop()
	<-s.billing.Stopped()
	return s.bills.Close()
}

func toil(times time.Duration) { <-time.After(times * work) }
