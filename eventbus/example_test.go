package eventbus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

type AccountOpened struct {
	eventbus.Base
	Owner string `json:"owner"`
}

type MoneyPaidIn struct {
	eventbus.Base
	Cents int64 `json:"cents"`
}

func bank() *eventbus.Registry {
	reg := eventbus.NewRegistry()
	if err := errors.Join(
		eventbus.Register[AccountOpened](reg, "AccountOpened", eventbus.AggregateType("Account")),
		eventbus.Register[MoneyPaidIn](reg, "MoneyPaidIn", eventbus.AggregateType("Account"), eventbus.Alias("Deposit")),
	); err != nil {
		log.Fatal(err)
	}
	return reg
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func ExampleSubscribe() {
	ctx := context.Background()
	bus := must(membus.New(membus.Config{Registry: bank()}))
	must(eventbus.Subscribe(bus, "greet", func(_ context.Context, e AccountOpened) error {
		fmt.Printf("%s of %s: hello %s\n", e.EventType, e.AggregateID, e.Owner)
		return nil
	}))

	if err := bus.Publish(ctx, &AccountOpened{Base: eventbus.NewBase("account-7"), Owner: "Ada"}); err != nil {
		log.Fatal(err)
	}
	must(bus.Shutdown(ctx))
	// Output: AccountOpened of account-7: hello Ada
}

// A bus on any Watermill Publisher and Subscriber, here its GoChannel.
func ExampleNew() {
	ctx, stop := context.WithCancel(context.Background())
	pubSub := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	bus := must(eventbus.New(eventbus.Config{
		Publisher: pubSub, Subscriber: pubSub, Topic: "accounts", Group: "greeter", Registry: bank(),
	}))
	handled := make(chan string)
	must(eventbus.Subscribe(bus, "greet", func(_ context.Context, e AccountOpened) error {
		handled <- e.Owner
		return nil
	}))
	ran := make(chan error)
	go func() { ran <- bus.Run(ctx) }()
	<-bus.Running()

	if err := bus.Publish(ctx, &AccountOpened{Base: eventbus.NewBase("account-7"), Owner: "Ada"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("hello", <-handled)

	stop() // drains
	fmt.Println("run:", <-ran)
	must(bus.Shutdown(context.Background()))
	_ = pubSub.Close() // ours, so the bus left it open
	// Output:
	// hello Ada
	// run: <nil>
}

// Letters that can be listed and replayed, as messages of a topic on the same
// Pub/Sub.
func ExampleNew_deadLetters() {
	ctx, stop := context.WithCancel(context.Background())
	pubSub := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
	letters := must(dlq.NewTopic(dlq.TopicConfig{
		Publisher: pubSub, Topic: "accounts.dlq",
		Subscribe: func(context.Context) (message.Subscriber, error) { return pubSub, nil }, // reads from the beginning
		Settle:    100 * time.Millisecond,                                                   // gochannel keeps no order; brokers do
	}))
	buried := make(chan struct{})
	bus := must(eventbus.New(eventbus.Config{
		Publisher: pubSub, Subscriber: pubSub, Topic: "accounts", Registry: bank(),
		DeadLetters: letters, OnBuried: func(context.Context, dlq.Letter) { close(buried) },
	}))
	mended, booked := false, make(chan struct{})
	must(eventbus.Subscribe(bus, "book", func(context.Context, MoneyPaidIn) error {
		if !mended {
			return middleware.Permanent(errors.New("no such ledger"))
		}
		close(booked)
		return nil
	}))
	ran := make(chan error)
	go func() { ran <- bus.Run(ctx) }()
	<-bus.Running()

	if err := bus.Publish(ctx, &MoneyPaidIn{Base: eventbus.NewBase("account-7"), Cents: 500}); err != nil {
		log.Fatal(err)
	}
	<-buried
	for letter, err := range bus.DeadLetters().List(ctx, dlq.Query{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(letter.Handlers, letter.Reason, letter.ErrorMessage)
	}
	mended = true
	report := must(bus.DeadLetters().ReplayAll(ctx, dlq.Query{Filter: dlq.Filter{Handler: "book"}}))
	<-booked
	fmt.Println(report.Replayed, "replayed,", must(bus.DeadLetters().Count(ctx)), "left")

	stop()
	fmt.Println("run:", <-ran)
	must(bus.Shutdown(context.Background()))
	_ = pubSub.Close()
	// Output:
	// [book] permanent_error no such ledger
	// 1 replayed, 0 left
	// run: <nil>
}

// A bus mounted on a router that the program has already, beside its other
// handlers. Decorate keeps the router from closing the Subscriber that both use
// while the bus still drains.
func ExampleBus_Mount() {
	ctx := context.Background()
	pubSub := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	bus := must(eventbus.New(eventbus.Config{Publisher: pubSub, Subscriber: pubSub, Topic: "accounts", Registry: bank()}))
	working := make(chan struct{})
	must(eventbus.Subscribe(bus, "greet", func(_ context.Context, e AccountOpened) error {
		close(working)
		<-time.After(20 * time.Millisecond) // the work
		fmt.Println("hello", e.Owner)
		return nil
	}))

	yours := must(message.NewRouter(message.RouterConfig{}, watermill.NopLogger{}))
	yours.AddConsumerHandler("ping", "pings", router.Decorate(pubSub, router.DrainConfig{}), func(*message.Message) error { return nil })
	if err := bus.Mount(yours); err != nil {
		log.Fatal(err)
	}
	go func() { _ = yours.Run(ctx) }()
	<-yours.Running()

	if err := bus.Publish(ctx, &AccountOpened{Base: eventbus.NewBase("account-7"), Owner: "Ada"}); err != nil {
		log.Fatal(err)
	}
	<-working // a service waits for the end of signal.NotifyContext's context here

	report := must(bus.Drain(ctx)) // closing the router drains too, and tells nothing
	fmt.Println("finished:", report.Finished, "handed back:", report.HandedBack)
	fmt.Println("close:", yours.Close())
	must(bus.Shutdown(ctx))
	// Output:
	// hello Ada
	// finished: 1 handed back: 0
	// close: <nil>
}

// statement is a projection: it declares its own name and types.
type statement struct{ lines []string }

func (*statement) Name() string { return "statement" }

func (*statement) SubscribedTo() []eventbus.Type {
	return []eventbus.Type{eventbus.TypeFor[AccountOpened](), eventbus.TypeFor[MoneyPaidIn]()}
}

func (s *statement) Handle(_ context.Context, e eventbus.Event) error {
	switch e := e.(type) {
	case *AccountOpened:
		s.lines = append(s.lines, "opened by "+e.Owner)
	case *MoneyPaidIn:
		s.lines = append(s.lines, fmt.Sprint("paid in ", e.Cents))
	}
	return nil
}

func ExampleBus_SubscribeAll() {
	bus := must(membus.New(membus.Config{Registry: bank()}))
	s := &statement{}
	subscription := must(bus.SubscribeAll(s))
	must(bus.SubscribeToAllEvents("audit", eventbus.HandlerFunc(func(_ context.Context, e eventbus.Event) error {
		fmt.Println("audit:", e.EventBase().EventType)
		return nil
	})))
	opened := &AccountOpened{Base: eventbus.NewBase("account-7"), Owner: "Ada"}
	paid := &MoneyPaidIn{Base: eventbus.NewBase("account-7").CausedBy(opened), Cents: 500}
	if err := bus.Publish(context.Background(), opened, paid); err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.lines, bus.SubscriberCount(), bus.WildcardSubscriberCount())
	fmt.Println(subscription.Unsubscribe(), subscription.Unsubscribe(), bus.SubscriberCount())
	// Output:
	// audit: AccountOpened
	// audit: MoneyPaidIn
	// [opened by Ada paid in 500] 2 1
	// true false 0
}

// A handler that gives up leaves a letter that names it; after the cause is
// mended, the replay runs that handler and no other.
func ExampleBus_DeadLetters() {
	ctx := context.Background()
	bus := must(membus.New(membus.Config{Registry: bank(), Retry: middleware.Retry{MaxRetries: 2, BaseDelay: time.Millisecond}}))
	mended := false
	must(eventbus.Subscribe(bus, "book", func(context.Context, MoneyPaidIn) error {
		if !mended {
			return errors.New("ledger is read-only")
		}
		fmt.Println("booked")
		return nil
	}))
	must(eventbus.Subscribe(bus, "notify", func(context.Context, MoneyPaidIn) error {
		fmt.Println("notified")
		return nil
	}))
	if err := bus.Publish(ctx, &MoneyPaidIn{Base: eventbus.NewBase("account-7"), Cents: 500}); err != nil {
		log.Fatal(err)
	}

	var id string
	for letter, err := range bus.DeadLetters().List(ctx, dlq.Query{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(letter.Handlers, letter.Attempts, letter.ErrorMessage)
		id = letter.ID
	}
	mended = true
	if err := bus.DeadLetters().Replay(ctx, id); err != nil {
		log.Fatal(err)
	}
	fmt.Println(must(bus.DeadLetters().Count(ctx)), "letters left")
	// Output:
	// notified
	// [book] 3 ledger is read-only
	// booked
	// 0 letters left
}

// What a handler returns steers what happens next.
func ExampleWithRetry() {
	bus := must(membus.New(membus.Config{Registry: bank()}))
	attempts := 0
	must(eventbus.Subscribe(bus, "book", func(context.Context, MoneyPaidIn) error {
		attempts++
		switch attempts {
		case 1:
			return errors.New("again, after the policy's delay")
		case 2:
			return middleware.RetryAfter(errors.New("again, after this delay"), time.Millisecond)
		default:
			return middleware.Permanent(errors.New("not again: bury it"))
		}
	}, eventbus.WithRetry(middleware.Retry{MaxRetries: 10, BaseDelay: time.Millisecond}), eventbus.WithTimeout(time.Minute)))
	if err := bus.Publish(context.Background(), &MoneyPaidIn{Base: eventbus.NewBase("account-7")}); err != nil {
		log.Fatal(err)
	}
	s := bus.Stats()
	fmt.Println(s.HandlersInvoked, "attempts,", s.Retries, "retries,", s.MessagesSentToDLQ, "letter")
	// Output: 3 attempts, 2 retries, 1 letter
}

// Publish tells for each event what is known about it.
func ExamplePublishError() {
	bus := must(membus.New(membus.Config{Registry: bank()}))
	err := bus.Publish(context.Background(),
		&AccountOpened{Base: eventbus.NewBase("account-7"), Owner: "Ada"},
		&MoneyPaidIn{Base: eventbus.NewBase(""), Cents: 500})
	var pe *eventbus.PublishError
	if errors.As(err, &pe) {
		for _, r := range pe.Results {
			fmt.Println(r.EventType, r.Outcome, r.Err)
		}
	}
	fmt.Println(errors.Is(err, eventbus.ErrInvalidEvent))
	// Output:
	// AccountOpened refused not sent: another event of the call was refused
	// MoneyPaidIn refused invalid event: MoneyPaidIn has no aggregate id: name it in eventbus.NewBase
	// true
}

// Middleware of one handler. It runs for each attempt, and its message's context
// tells which one, of which handler, on which event.
func ExampleWithMiddleware() {
	timing := func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			ctx := m.Context()
			event, _ := eventbus.EventFrom(ctx)
			begin := time.Now()
			produced, err := h(m)
			fmt.Printf("%s of %s, attempt %d: %v, in less than a minute: %t\n", middleware.HandlerName(ctx),
				event.EventBase().AggregateID, middleware.Attempt(ctx), err, time.Since(begin) < time.Minute)
			return produced, err
		}
	}
	bus := must(membus.New(membus.Config{Registry: bank(), Retry: middleware.Retry{BaseDelay: time.Millisecond}}))
	calls := 0
	must(eventbus.Subscribe(bus, "book", func(context.Context, MoneyPaidIn) error {
		if calls++; calls == 1 {
			return errors.New("ledger is locked")
		}
		return nil
	}, eventbus.WithMiddleware(middleware.Named("timing", timing))))
	if err := bus.Publish(context.Background(), &MoneyPaidIn{Base: eventbus.NewBase("account-7")}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// book of account-7, attempt 1: ledger is locked, in less than a minute: true
	// book of account-7, attempt 2: <nil>, in less than a minute: true
}

func ExampleBus_Chain() {
	bus := must(membus.New(membus.Config{Registry: bank(), HandlerTimeout: time.Second}))
	tenants := middleware.Named("tenants", func(h message.HandlerFunc) message.HandlerFunc { return h })
	must(eventbus.Subscribe(bus, "book", func(context.Context, MoneyPaidIn) error { return nil }, eventbus.WithMiddleware(tenants)))
	fmt.Print(bus.Chain())
	// Output:
	// message: Recover > Trace > DeadLetter > Recover > dispatch
	// book on MoneyPaidIn: Retry > Stats > Timeout > Trace > Recover > tenants > handler
}
