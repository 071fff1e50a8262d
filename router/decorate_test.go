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

// drained starts a drain and returns its result's channel.
type drained struct {
	report router.Report
	err    error
}

func drain(ctx context.Context, d router.Drainer) <-chan drained {
	c := make(chan drained, 1)
	go func() {
		report, err := d.Drain(ctx)
		c <- drained{report, err}
	}()
	return c
}

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

func nacks(e *entry) int { return e.nacked }

func TestDrain_RunningMessageFinishesWithALiveContextAndIsAcked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(30 * time.Millisecond)
		broker.add("t", 2)
		sub := router.Decorate(broker, router.DrainConfig{})
		out := subscribe(t.Context(), t, sub, "t")
		m := <-out

		result := drain(t.Context(), sub)
		<-time.After(20 * time.Second) // less than the default time-out
		if err := m.Context().Err(); err != nil {
			t.Errorf("context during the drain: %v, want it live", err)
		}
		if !isOpen(out) {
			t.Error("a message was handed out or the channel closed during the drain, before the running one was settled")
		}
		m.Ack()
		got := <-result

		if got.err != nil {
			t.Errorf("Drain: %v", got.err)
		}
		if got.report.Finished != 1 || got.report.HandedBack != 1 {
			t.Errorf("report = %+v, want 1 finished, 1 handed back (the next one was on its way)", got.report)
		}
		if left := broker.unacked(); len(left) != 1 || left[0] != "t-2" {
			t.Errorf("unacked = %v, want t-2 alone", left)
		}
		if n := broker.sum(nacks); n != 0 {
			t.Errorf("%d nacks, want 0", n)
		}
		if isOpen(out) {
			t.Error("the output channel is open after Drain")
		}
		if broker.isClosed() {
			t.Error("Drain closed the inner subscriber")
		}
	})
}

func TestDrain_ClosesTheChannelAfterTheNativeAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(700 * time.Millisecond)
		broker.add("t", 1)
		sub := router.Decorate(broker, router.DrainConfig{})
		out := subscribe(t.Context(), t, sub, "t")
		(<-out).Ack()
		result := drain(t.Context(), sub)

		<-out // closed

		if left := broker.unacked(); len(left) != 0 {
			t.Errorf("the channel was closed while the ack of %v was on its way", left)
		}
		got := <-result
		if got.report.Duration != 700*time.Millisecond {
			t.Errorf("drain took %v, want the 700ms of the ack: its end is seen", got.report.Duration)
		}
	})
}

func TestDrain_IdleTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		broker.add("t", 1)
		sub := router.Decorate(broker, router.DrainConfig{})
		out := subscribe(t.Context(), t, sub, "t")
		(<-out).Ack()
		<-time.After(time.Second)

		got := <-drain(t.Context(), sub)

		if got.report != (router.Report{}) || got.err != nil {
			t.Errorf("drain of an idle subscription: %+v, %v, want no time, no messages, nil", got.report, got.err)
		}
	})
}

// An adapter that gives no sign gets SettleTimeout, one that goes on less.
func TestDrain_SettlesWithoutAContextToWatch(t *testing.T) {
	for _, tc := range []struct {
		name     string
		messages int
		want     time.Duration
	}{
		{"no sign", 1, 300 * time.Millisecond},
		{"next message delivered", 2, 50 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := newScripted(20 * time.Millisecond)
				broker.noContext = true
				broker.add("t", tc.messages)
				sub := router.Decorate(broker, router.DrainConfig{SettleTimeout: 300 * time.Millisecond})
				m := <-subscribe(t.Context(), t, sub, "t")
				result := drain(t.Context(), sub)
				synctest.Wait()
				m.Ack()
				got := <-result
				if got.report.Duration != tc.want || got.err != nil {
					t.Errorf("took %v, %v, want %v", got.report.Duration, got.err, tc.want)
				}
				if left := len(broker.unacked()); left != tc.messages-1 {
					t.Errorf("%d unacked, want %d", left, tc.messages-1)
				}
			})
		})
	}
}

func TestDrain_DeadlineEndsTheContextAndHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		broker.add("t", 1)
		sub := router.Decorate(broker, router.DrainConfig{})
		out := subscribe(t.Context(), t, sub, "t")
		m := <-out
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		result := drain(ctx, sub)

		<-m.Context().Done() // the handler goes on all the same

		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("context ended after %v, want the deadline of 3s", took)
		}
		if cause := context.Cause(m.Context()); !errors.Is(cause, router.ErrDrainDeadline) {
			t.Errorf("cause = %v, want ErrDrainDeadline", cause)
		}
		got := <-result
		if !errors.Is(got.err, router.ErrDrainDeadline) {
			t.Errorf("Drain = %v, want ErrDrainDeadline", got.err)
		}
		if got.report.HandedBack != 1 || got.report.Finished != 0 {
			t.Errorf("report = %+v, want 1 handed back", got.report)
		}
		if got.report.Duration > 4*time.Second {
			t.Errorf("took %v, want at most a second after the deadline", got.report.Duration)
		}
		m.Ack() // too late, and harmless
		if left, n := broker.unacked(), broker.sum(nacks); len(left) != 1 || n != 0 {
			t.Errorf("unacked %v with %d nacks, want the message unsettled", left, n)
		}
		if isOpen(out) {
			t.Error("the output channel is open after Drain")
		}
	})
}

func TestDrain_LateFinisherIsStillAcked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		broker.add("t", 1)
		sub := router.Decorate(broker, router.DrainConfig{DrainTimeout: time.Second})
		m := <-subscribe(t.Context(), t, sub, "t")
		result := drain(t.Context(), sub)
		<-m.Context().Done()
		<-time.After(100 * time.Millisecond)
		m.Ack()
		got := <-result
		if got.report.Finished != 1 || len(broker.unacked()) != 0 {
			t.Errorf("report %+v, unacked %v: want the late ack passed on", got.report, broker.unacked())
		}
		if !errors.Is(got.err, router.ErrDrainDeadline) {
			t.Errorf("Drain = %v, want ErrDrainDeadline: the deadline did pass", got.err)
		}
	})
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

func TestDrain_NackDuringTheDrainLeavesTheMessageUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		broker.add("t", 1)
		sub := router.Decorate(broker, router.DrainConfig{})
		m := <-subscribe(t.Context(), t, sub, "t")
		result := drain(t.Context(), sub)
		synctest.Wait()
		m.Nack()
		got := <-result
		if n := broker.sum(nacks); n != 0 || len(broker.unacked()) != 1 {
			t.Errorf("%d nacks, unacked %v, want the message unsettled", n, broker.unacked())
		}
		if got.report.HandedBack != 1 || got.err != nil {
			t.Errorf("Drain = %+v, %v, want 1 handed back, nil", got.report, got.err)
		}
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

func TestDrain_EarliestBoundCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		broker.add("t", 1)
		sub := router.Decorate(broker, router.DrainConfig{DrainTimeout: time.Minute})
		m := <-subscribe(t.Context(), t, sub, "t")
		start := time.Now()
		first := drain(t.Context(), sub) // a minute
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		second := drain(ctx, sub)
		<-m.Context().Done()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("context ended after %v, want 2s", took)
		}
		<-first
		<-second
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

// As watermill-amqp: only an ack or a nack of what is out makes it look up.
func TestDrain_AdapterThatWaitsForASettlementGetsANack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newScripted(time.Millisecond)
		broker.deaf = true
		broker.add("t", 3)
		sub := router.Decorate(broker, router.DrainConfig{})
		m := <-subscribe(t.Context(), t, sub, "t")
		result := drain(t.Context(), sub)
		synctest.Wait()
		m.Ack()
		got := <-result
		if got.err != nil || got.report.Duration > time.Second {
			t.Errorf("Drain: %v after %v, want nil in under a second", got.err, got.report.Duration)
		}
		if left := broker.unacked(); len(left) != 2 {
			t.Errorf("unacked = %v, want t-2 and t-3", left)
		}
		broker.subs.Wait() // the adapter's goroutine has ended
	})
}

func TestDrain_AdapterThatNeverClosesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := router.Decorate(subscriberFunc(func(context.Context, string) (<-chan *message.Message, error) {
			return make(chan *message.Message), nil
		}), router.DrainConfig{DrainTimeout: 3 * time.Second})
		out := subscribe(t.Context(), t, sub, "t")
		got := <-drain(t.Context(), sub)
		if got.err == nil || got.report.Duration > 4*time.Second {
			t.Errorf("Drain: %v after %v, want an error a second after the deadline at the latest", got.err, got.report.Duration)
		}
		if isOpen(out) {
			t.Error("the output channel is open after Drain")
		}
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
