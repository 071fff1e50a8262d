package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
)

// A stock Watermill router with retries in place and a dead letter queue.
func Example() {
	broker := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, nil)
	letters := dlq.NewMemStore(dlq.MemConfig{})
	r, err := message.NewRouter(message.RouterConfig{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	buried := make(chan struct{})
	r.AddMiddleware(
		middleware.DeadLetter{
			Burier: letters, Group: "billing",
			OnBuried: func(context.Context, dlq.Letter) { close(buried) },
		}.Middleware,
		middleware.Retry{MaxRetries: 2, BaseDelay: time.Millisecond}.Middleware,
		middleware.Recover{}.Middleware,
	)
	r.AddConsumerHandler("send-invoice", "orders", broker, func(*message.Message) error {
		panic("printer on fire")
	})
	go func() { _ = r.Run(context.Background()) }()
	<-r.Running()

	if err := broker.Publish("orders", message.NewMessage("order-1-paid", nil)); err != nil {
		fmt.Println(err)
		return
	}
	<-buried
	for l := range letters.List(context.Background(), dlq.Query{}) {
		fmt.Println(l.MessageID, l.Source.Topic, l.Handlers, l.Attempts, l.Reason)
		fmt.Println(l.ErrorMessage)
	}
	_ = r.Close()
	_ = broker.Close()
	// Output:
	// order-1-paid orders [send-invoice] 3 max_retries_exceeded
	// middleware: handler panicked: printer on fire
}

// The first middleware is the outermost.
func ExampleDescribe() {
	var stats middleware.Stats
	for _, name := range middleware.Describe(
		stats.Middleware,
		middleware.DeadLetter{}.Middleware,
		middleware.Retry{}.Middleware,
		middleware.Named("audit", func(h message.HandlerFunc) message.HandlerFunc { return h }),
		middleware.Recover{}.Middleware,
	) {
		fmt.Println(name)
	}
	// Output:
	// Stats
	// DeadLetter
	// Retry
	// audit
	// Recover
}

// A handler steers by what it returns.
func ExamplePermanent() {
	card := errors.New("card expired")
	attempts := 0
	h := middleware.Retry{}.Middleware(func(*message.Message) ([]*message.Message, error) {
		attempts++
		return nil, middleware.Permanent(card)
	})
	_, err := h(message.NewMessage("1", nil))
	fmt.Println(attempts, err, errors.Is(err, card))
	// Output:
	// 1 card expired true
}

// The second delivery of a message that was handled is skipped.
func ExampleIdempotency() {
	h := middleware.Idempotency{
		Store: middleware.NewMemSeen(middleware.MemSeenConfig{}),
	}.Middleware(func(m *message.Message) ([]*message.Message, error) {
		fmt.Println("handled", m.UUID)
		return nil, nil
	})
	for _, id := range []string{"1", "2", "1"} {
		_, _ = h(message.NewMessage(id, nil))
	}
	// Output:
	// handled 1
	// handled 2
}
