package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
)

// A letter is listed, and replayed after the fix.
func ExampleQueue() {
	ctx := context.Background()
	broker := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, nil)
	defer func() { _ = broker.Close() }()
	letters := dlq.NewMemStore(dlq.MemConfig{})
	queue, err := dlq.New(dlq.Config{Store: letters, Publisher: broker})
	if err != nil {
		fmt.Println(err)
		return
	}

	// What middleware.DeadLetter does when a handler gives up.
	dead := message.NewMessage("order-1-paid", []byte(`{"amount":12}`))
	letter := dlq.NewLetter(dead)
	letter.Group, letter.Handlers, letter.Source.Topic = "billing", []string{"send-invoice"}, "orders"
	letter.Reason, letter.ErrorMessage, letter.Attempts = dlq.ReasonMaxRetries, "printer on fire", 4
	if _, err := letters.Bury(ctx, letter); err != nil {
		fmt.Println(err)
		return
	}

	for l, err := range queue.List(ctx, dlq.Query{NewestFirst: true, Limit: 10}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(l.ID, l.MessageID, l.Handlers, l.Reason, l.ErrorMessage, l.Attempts)
		fmt.Println("replay:", queue.Replay(ctx, l.ID))
	}
	left, err := queue.Count(ctx)
	fmt.Println("left:", left, err)
	fmt.Println("again:", errors.Is(queue.Replay(ctx, "1"), dlq.ErrNotFound))

	messages, err := broker.Subscribe(ctx, "orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	replayed := <-messages
	replayed.Ack()
	target, _ := dlq.ReplayTarget(replayed)
	fmt.Println(replayed.UUID, target.Group, target.Handlers, target.Replays)
	// Output:
	// 1 order-1-paid [send-invoice] max_retries_exceeded printer on fire 4
	// replay: <nil>
	// left: 0 <nil>
	// again: true
	// order-1-paid billing [send-invoice] 1
}

// Only what a filter chooses is replayed; a letter at the cap stays.
func ExampleQueue_ReplayAll() {
	ctx := context.Background()
	broker := gochannel.NewGoChannel(gochannel.Config{}, nil)
	defer func() { _ = broker.Close() }()
	letters := dlq.NewMemStore(dlq.MemConfig{})
	queue, err := dlq.New(dlq.Config{Store: letters, Publisher: broker, Topic: "orders", MaxReplays: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, handler := range []string{"invoice", "audit", "invoice"} {
		l := dlq.Letter{MessageID: fmt.Sprint(i), Handlers: []string{handler}, Replays: i}
		if _, err := letters.Bury(ctx, l); err != nil {
			fmt.Println(err)
			return
		}
	}

	report, err := queue.ReplayAll(ctx, dlq.Query{Filter: dlq.Filter{Handler: "invoice"}})
	fmt.Println(report.Replayed, report.Refused, err)
	fmt.Println(report.Refusals[0].Err)
	// Output:
	// 1 1 <nil>
	// dlq: replay "3": replayed 2 times already, at most 2; fix the cause, then force it
}

// The dead letters of a plain Watermill project, on a topic of its own broker.
func ExampleTopic() {
	ctx := context.Background()
	broker := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, nil)
	defer func() { _ = broker.Close() }()
	letters, err := dlq.NewTopic(dlq.TopicConfig{
		Publisher: broker,
		Topic:     "orders_dlq",
		Subscribe: func(context.Context) (message.Subscriber, error) { return broker, nil },
		Settle:    100 * time.Millisecond, // gochannel keeps no order
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := letters.Bury(ctx, dlq.Letter{MessageID: "order-1-paid", Reason: dlq.ReasonPermanent})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := letters.Get(ctx, id)
	fmt.Println(l.MessageID, l.Reason, err)
	// Output:
	// order-1-paid permanent_error <nil>
}
