package router_test

import (
	"context"
	"errors"
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
