package eventbus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
)

// One call is one batch: its events are confirmed, or told of, one by one.
func ExampleBus_Publish() {
	ctx := context.Background()
	bus := must(membus.New(membus.Config{Registry: bank()}))
	opened := &AccountOpened{Base: eventbus.NewBase("account-7"), Owner: "Ada"}
	paidIn := &MoneyPaidIn{Base: eventbus.NewBase("account-7").CausedBy(opened), Cents: 500}

	fmt.Println(bus.Publish(ctx, opened, paidIn))
	fmt.Println("one story:", paidIn.CorrelationID == opened.EventID)

	err := bus.Publish(ctx, &AccountOpened{}) // without an id and a time
	fmt.Println("refused:", errors.Is(err, eventbus.ErrInvalidEvent))
	must(bus.Shutdown(ctx))
	// Output:
	// <nil>
	// one story: true
	// refused: true
}

// What is wrong with an event is told at once; the rest happens behind, bounded,
// and a shutdown waits for it.
func ExampleBus_PublishInBackground() {
	ctx := context.Background()
	bus := must(membus.New(membus.Config{Registry: bank()}))
	must(eventbus.Subscribe(bus, "greet", func(_ context.Context, e AccountOpened) error {
		fmt.Println("hello", e.Owner)
		return nil
	}))

	if err := bus.PublishInBackground(ctx, &AccountOpened{Base: eventbus.NewBase("account-7"), Owner: "Ada"}); err != nil {
		log.Fatal(err)
	}
	must(bus.Shutdown(ctx))
	fmt.Println("under way:", bus.BackgroundTaskCount())
	// Output:
	// hello Ada
	// under way: 0
}

// A wildcard handler: an audit trail of whatever the registry knows.
func ExampleBus_SubscribeToAllEvents() {
	ctx := context.Background()
	bus := must(membus.New(membus.Config{Registry: bank()}))
	audit := must(bus.SubscribeToAllEvents("audit", eventbus.HandlerFunc(func(_ context.Context, e eventbus.Event) error {
		fmt.Println(e.EventBase().EventType, "of", e.EventBase().AggregateID)
		return nil
	})))

	if err := bus.Publish(ctx, &AccountOpened{Base: eventbus.NewBase("account-7")}, &MoneyPaidIn{Base: eventbus.NewBase("account-7")}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(audit.Unsubscribe(), bus.WildcardSubscriberCount())
	must(bus.Shutdown(ctx))
	// Output:
	// AccountOpened of account-7
	// MoneyPaidIn of account-7
	// true 0
}

// A program without other things to do blocks in Run. The end of its context
// drains, and Shutdown tells what the drain did.
func ExampleBus_Run() {
	ctx, stop := context.WithCancel(context.Background()) // signal.NotifyContext(..., syscall.SIGTERM) in a service
	bus := must(membus.New(membus.Config{Registry: bank()}))
	go func() {
		<-bus.Running()
		stop()
	}()

	fmt.Println("stopped:", bus.Run(ctx))
	report, err := bus.Shutdown(context.Background())
	fmt.Println(report.HandedBack, err)
	// Output:
	// stopped: <nil>
	// 0 <nil>
}

// Shutdown waits for what is under way; afterwards the bus takes nothing.
func ExampleBus_Shutdown() {
	ctx := context.Background()
	bus := must(membus.New(membus.Config{Registry: bank()}))

	_, err := bus.Shutdown(ctx)
	_, again := bus.Shutdown(ctx)
	fmt.Println(err, again)
	fmt.Println(errors.Is(bus.Publish(ctx, &AccountOpened{Base: eventbus.NewBase("account-7")}), eventbus.ErrClosed))
	// Output:
	// <nil> <nil>
	// true
}

// Found, looked at, and replayed to the one handler that failed.
func ExampleBus_DeadLetters_replay() {
	ctx := context.Background()
	bus := must(membus.New(membus.Config{Registry: bank()}))
	must(eventbus.Subscribe(bus, "greet", func(_ context.Context, e AccountOpened) error {
		fmt.Println("hello", e.Owner)
		return nil
	}))
	down := true
	must(eventbus.Subscribe(bus, "book", func(_ context.Context, e AccountOpened) error {
		if down {
			return middleware.Permanent(errors.New("the ledger is closed"))
		}
		fmt.Println("booked for", e.Owner)
		return nil
	}))
	opened := &AccountOpened{Base: eventbus.NewBase("account-7"), Owner: "Ada"}
	if err := bus.Publish(ctx, opened); err != nil { // nil: what handlers do is not the publisher's affair
		log.Fatal(err)
	}

	down = false
	for letter, err := range bus.DeadLetters().List(ctx, dlq.Query{Limit: 10}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(letter.Handlers, "after", letter.Attempts, "attempt:", letter.ErrorMessage)
		if err := bus.DeadLetters().Replay(ctx, letter.ID); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("letters:", must(bus.DeadLetters().Count(ctx)))
	must(bus.Shutdown(ctx))
	// Output:
	// hello Ada
	// [book] after 1 attempt: the ledger is closed
	// booked for Ada
	// letters: 0
}

// Money was counted in whole units once, and the event had another name.
func ExampleRegister() {
	reg := eventbus.NewRegistry()
	err := eventbus.Register[MoneyPaidIn](reg, "MoneyPaidIn",
		eventbus.AggregateType("Account"), eventbus.Alias("Deposit"), eventbus.Version(2),
		eventbus.Upcast(func(_ int, payload []byte) ([]byte, error) {
			return []byte(strings.Replace(string(payload), `"units"`, `"cents"`, 1)), nil
		}))
	fmt.Println(reg.Names(), err)

	err = eventbus.Register[AccountOpened](reg, "Deposit")
	fmt.Println("taken:", errors.Is(err, eventbus.ErrDuplicate))
	// Output:
	// [MoneyPaidIn] <nil>
	// taken: true
}

func ExampleBus_Stats() {
	ctx := context.Background()
	bus := must(membus.New(membus.Config{Registry: bank()}))
	must(eventbus.Subscribe(bus, "greet", func(context.Context, AccountOpened) error { return nil }))
	if err := bus.Publish(ctx, &AccountOpened{Base: eventbus.NewBase("account-7")}); err != nil {
		log.Fatal(err)
	}

	stats := bus.Stats()
	fmt.Println(stats.EventsPublished, stats.EventsProcessedSuccess, stats.HandlersInvoked, stats.HandlerErrors)
	must(bus.Shutdown(ctx))
	// Output: 1 1 1 0
}
