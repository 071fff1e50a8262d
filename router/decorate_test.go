package router_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

func subscribe(ctx context.Context, t *testing.T, s message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	out, err := s.Subscribe(ctx, topic)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	return out
}

func isOpen(out <-chan *message.Message) bool {
	select {
	case _, ok := <-out:
		return ok
	default:
		return true
	}
}

func TestDecorate_NackOutsideADrainIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		broker.add("t", 1)
		sub := router.Decorate(broker, router.DrainConfig{})
		out := subscribe(t.Context(), t, sub, "t")
		(<-out).Nack()
		again := <-out
		if again.UUID != "t-1" || broker.sum(nacks) != 1 {
			t.Errorf("after a nack: %s with %d nacks, want t-1 again with 1", again.UUID, broker.sum(nacks))
		}
		again.Ack()
		<-drain(t.Context(), sub)
	})
}

func TestDecorate_EndOfTheSubscribeContextDrainsThatSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		broker.add("a", 1)
		broker.add("b", 2)
		sub := router.Decorate(broker, router.DrainConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		a := subscribe(ctx, t, sub, "a")
		b := subscribe(t.Context(), t, sub, "b")
		m, other := <-a, <-b
		cancel()
		synctest.Wait()
		if m.Context().Err() != nil {
			t.Error("the message's context ended with the subscribe context")
		}
		m.Ack()
		<-a // closed
		if left := broker.unacked(); len(left) != 2 {
			t.Errorf("unacked = %v, want those of b alone", left)
		}
		other.Ack()
		(<-b).Ack() // b goes on
		<-drain(t.Context(), sub)
	})
}

func TestDecorate_CloseDrainsOnceAndKeepsTheInnerOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		sub := router.Decorate(broker, router.DrainConfig{})
		out := subscribe(t.Context(), t, sub, "t")
		for range 2 {
			if err := sub.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if isOpen(out) {
			t.Error("the output channel is open after Close")
		}
		if _, err := sub.Subscribe(t.Context(), "t"); !errors.Is(err, router.ErrClosed) {
			t.Errorf("Subscribe after Close: %v, want ErrClosed", err)
		}
		if broker.isClosed() {
			t.Error("Close closed the inner subscriber")
		}
		// It works on for others.
		ctx, cancel := context.WithCancel(t.Context())
		again := subscribe(ctx, t, broker, "t")
		cancel()
		<-again
	})
}

func TestDecorate_InnerThatEndsByItselfIsHandledToTheEndAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		flood := newFlood(3, func(int) string { return "" })
		sub := router.Decorate(flood, router.DrainConfig{
			Concurrency: 2, MaxInFlight: 4, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		out := subscribe(t.Context(), t, sub, "t")
		first, second := <-out, <-out
		synctest.Wait() // the third is taken too
		flood.end()
		synctest.Wait()
		first.Ack()
		third := <-out
		<-time.After(time.Hour) // no deadline: nobody is waiting
		if third.Context().Err() != nil {
			t.Error("the context ended though nobody drains")
		}
		second.Ack()
		third.Ack()
		if _, ok := <-out; ok {
			t.Error("a fourth message")
		}
		if n := flood.acked(); n != 3 {
			t.Errorf("%d acked, want 3", n)
		}
		if !strings.Contains(log.String(), "subscription ended by itself") || !strings.Contains(log.String(), "topic=t") {
			t.Errorf("log = %q, want the end reported with its topic", log.String())
		}
		<-drain(t.Context(), sub)
	})
}

func TestDecorate_ReportsEveryMistakeInItsConfiguration(t *testing.T) {
	sub := router.Decorate(nil, router.DrainConfig{Concurrency: -1, MaxInFlight: -1, DrainTimeout: -1, SettleTimeout: -1})
	_, err := sub.Subscribe(t.Context(), "t")
	for _, want := range []string{"Concurrency", "MaxInFlight", "DrainTimeout", "SettleTimeout", "subscriber must not be nil"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if err := (router.DrainConfig{Concurrency: 4, MaxInFlight: 3}).Validate(); err == nil {
		t.Error("MaxInFlight below Concurrency was accepted")
	}
}

func TestDecorate_SubscribeEndsWithItsContextAndReportsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := router.Decorate(subscriberFunc(func(ctx context.Context, _ string) (<-chan *message.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}), router.DrainConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := hanging.Subscribe(ctx, "t"); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Subscribe = %v, want the context's end", err)
		}
		refused := errors.New("no such topic")
		failing := router.Decorate(subscriberFunc(func(context.Context, string) (<-chan *message.Message, error) {
			return nil, refused
		}), router.DrainConfig{})
		if _, err := failing.Subscribe(t.Context(), "t"); !errors.Is(err, refused) || !strings.Contains(err.Error(), `"t"`) {
			t.Errorf("Subscribe = %v, want the cause and the topic", err)
		}
		// Connected only after the context had ended: nothing is left behind.
		broker := newScripted(0)
		hungUp, hangUp := context.WithCancel(t.Context())
		late := router.Decorate(subscriberFunc(func(ctx context.Context, topic string) (<-chan *message.Message, error) {
			hangUp()
			<-ctx.Done()
			return broker.Subscribe(ctx, topic)
		}), router.DrainConfig{})
		if _, err := late.Subscribe(hungUp, "t"); !errors.Is(err, context.Canceled) {
			t.Errorf("Subscribe = %v, want context.Canceled", err)
		}
	})
}
