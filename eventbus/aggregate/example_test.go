package aggregate_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
	"github.com/leat-go/leat/eventbus/membus"
)

func Example() {
	ctx := context.Background()
	reg := eventbus.NewRegistry()
	err := errors.Join(
		eventbus.Register[Opened](reg, "AccountOpened"),
		eventbus.Register[Moved](reg, "MoneyMoved"),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	bus, err := membus.New(membus.Config{Registry: reg})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = eventbus.Subscribe(bus, "statement", func(_ context.Context, e Moved) error {
		fmt.Printf("%s version %d: %+d\n", e.AggregateID, e.AggregateVersion, e.Amount)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	accounts, err := aggregate.NewRepository(aggregate.Config[*Account]{
		Type: "Account", New: func() *Account { return &Account{} },
		Store: aggregate.NewMemStore(), Publisher: bus,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	account := accounts.New("acc-7")
	err = errors.Join(account.Open("Ann"), account.Move(100), accounts.Save(ctx, account))
	if err != nil {
		fmt.Println(err)
		return
	}

	account, err = accounts.Load(ctx, "acc-7")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("balance", account.balance, "at version", account.Version())
	fmt.Println(account.Move(-500))
	_, _ = bus.Shutdown(ctx)

	// Output:
	// acc-7 version 2: +100
	// balance 100 at version 2
	// overdrawn
}

func ExampleReplay() {
	// Given an account with 10, when 3 are withdrawn, then one event says so.
	opened, earned := &Opened{Base: eventbus.NewBase("acc-7")}, &Moved{Base: eventbus.NewBase("acc-7"), Amount: 10}
	earned.AggregateVersion = 2
	account := &Account{}
	err := aggregate.Replay(account, "acc-7", opened, earned)
	fmt.Println(err, account.Move(-3))
	for _, e := range account.Uncommitted() {
		fmt.Printf("%T version %d, balance %d\n", e, e.EventBase().AggregateVersion, account.balance)
	}
	// Output:
	// <nil> <nil>
	// *aggregate_test.Moved version 3, balance 7
}
