package redisbus_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/redisbus"
)

// A look at a stream and its groups, from a program that consumes nothing.
func ExampleInspector() {
	look := func(ctx context.Context) error {
		client, err := redisbus.OpenClient(ctx, redisbus.ClientConfig{URL: "redis://localhost:6379"})
		if err != nil {
			return err
		}
		defer client.Close()
		inspector, err := redisbus.NewInspector(redisbus.InspectorConfig{
			Client: client, Stream: "orders:stream", DeadLetters: "orders:stream_dlq", Group: "billing",
		})
		if err != nil {
			return err
		}
		info, err := inspector.StreamInfo(ctx)
		if err != nil {
			return err
		}
		for _, g := range info.ConsumerGroups {
			fmt.Println(g.Name, "has", g.Lag, "to read and", g.Pending, "in hand")
		}
		gone, err := inspector.RemoveDeadConsumers(ctx, 24*time.Hour)
		fmt.Println("removed:", gone)
		return err
	}
	_ = look
}

// The letters of a stream, without a bus.
func ExampleStore() {
	list := func(ctx context.Context) error {
		client, err := redisbus.OpenClient(ctx, redisbus.ClientConfig{URL: "redis://localhost:6379"})
		if err != nil {
			return err
		}
		defer client.Close()
		store, err := redisbus.NewStore(redisbus.StoreConfig{Client: client, Stream: "orders:stream_dlq"})
		if err != nil {
			return err
		}
		for letter, err := range store.List(ctx, dlq.Query{NewestFirst: true, Limit: 20}) {
			if err != nil {
				return err
			}
			fmt.Println(letter.BuriedAt, letter.Handlers, letter.ErrorMessage)
		}
		return nil
	}
	_ = list
}

// What a process that died had in hand is taken over by itself after
// PendingIdleTime; this does it now.
func ExampleBus_RecoverPending() {
	now := func(ctx context.Context, bus *redisbus.Bus) {
		did, err := bus.RecoverPending(ctx, 10*time.Second, redisbus.DefaultMaxDeliveries)
		if err != nil {
			log.Print(err)
		}
		fmt.Println("of", did.Checked, "handled", did.Reprocessed, "buried", did.DLQ)
	}
	_ = now
}
