package eventbus_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/router"
)

// Two buses share a subscriber that drains: one's end is not the other's.
func TestShutdown_LeavesTheOtherBusOfASharedSubscriber(t *testing.T) {
	ps := pubsub(t)
	shared := router.Decorate(ps, router.DrainConfig{})
	one := over(t, ps, func(c *eventbus.Config) { c.Subscriber = shared })
	two := over(t, ps, func(c *eventbus.Config) { c.Subscriber = shared; c.Topic = "parcels" })
	got := make(chan string, 1)
	if _, err := eventbus.Subscribe(two, "h", func(_ context.Context, e OrderCreated) error { got <- e.AggregateID; return nil }); err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- one.Run(context.Background()) }()
	receive(t, one.Running())
	run(t, two)
	if _, err := one.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := two.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	receive(t, got)
	if err := receive(t, ran); err != nil {
		t.Error(err)
	}
}

// leaving is a subscriber that closes its channel by itself, as stock adapters
// do on an entry that they cannot read.
type leaving struct{ out chan *message.Message }

func (s *leaving) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return s.out, nil
}

func (s *leaving) Close() error { return nil }

func TestRun_TellsWhenTheSubscriptionEndsByItself(t *testing.T) {
	sub := &leaving{make(chan *message.Message)}
	bus := open(t, &scripted{}, func(c *eventbus.Config) { c.Subscriber = sub })
	ran := make(chan error, 1)
	go func() { ran <- bus.Run(context.Background()) }()
	receive(t, bus.Running())
	close(sub.out)
	if err := receive(t, ran); !errors.Is(err, eventbus.ErrSubscriptionEnded) {
		t.Errorf("err = %v", err)
	}
}

func TestRun_DrainedFromOutsideHasNotLostItsSubscription(t *testing.T) {
	bus := over(t, pubsub(t))
	run(t, bus) // wants nil of Run and Shutdown
	if _, err := bus.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}
