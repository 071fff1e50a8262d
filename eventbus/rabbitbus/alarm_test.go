package rabbitbus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// While the broker is short of memory or disk, publishing ends at its deadline
// and says why, consumers go on with what is there, and afterwards all works
// again by itself.
func testAlarms(t *testing.T, broker *brokers.Instance) {
	t.Helper()
	t.Run("shutdown", func(t *testing.T) { testShutdownInAlarm(t, broker) })
	for _, alarm := range []struct{ name, reason, set, clear string }{
		{"memory", "low on memory", "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).", "rabbit_alarm:clear_alarm({resource_limit, memory, node()})."},
		{"disk", "low on disk", "rabbit_disk_monitor:set_disk_free_limit(1000000000000000).", "rabbit_disk_monitor:set_disk_free_limit(1000000)."},
	} {
		t.Run(alarm.name, func(t *testing.T) {
			gate := make(chan struct{})
			bus, recorder := open(t, rabbitbus.Config{
				URL: broker.URL(), ExchangeName: name(t, broker.URL(), "alarm"), PrefetchCount: 3,
				HandlerMiddleware: []message.HandlerMiddleware{func(next message.HandlerFunc) message.HandlerFunc {
					return func(m *message.Message) ([]*message.Message, error) {
						<-gate
						return next(m)
					}
				}},
			})
			const before = 30
			for range before / 3 {
				if err := bus.Publish(t.Context(), events()...); err != nil {
					t.Fatal(err)
				}
			}
			control(t, broker, "eval", alarm.set)
			defer control(t, broker, "eval", alarm.clear)
			refused, taken := 0, 0
			eventually(t, "publishing ends at its deadline and says why", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				err := bus.Publish(ctx, &orderShipped{Base: eventbus.NewBase("o")})
				var blocked *rabbitbus.BlockedError
				if errors.As(err, &blocked) {
					refused++
					if blocked.Reason != alarm.reason || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, rabbitbus.ErrUnknown) {
						t.Errorf("%v, want %q at the deadline, and that it was not sent", err, alarm.reason)
					}
				} else if err == nil || errors.Is(err, rabbitbus.ErrUnknown) {
					taken++ // before the broker said that it takes nothing
				}
				return refused == 3
			})
			close(gate)
			recorder.Wait(t, before)
			eventually(t, "all of that is acknowledged", func() bool { return bus.TransportStats().Consumer.InFlight == 0 })
			if reason := bus.TransportStats().Publishing.Blocked; reason != alarm.reason {
				t.Errorf("blocked by %q while consuming, want %q", reason, alarm.reason)
			}
			if info, err := bus.QueueInfo(t.Context()); err != nil || info.Messages != 0 {
				t.Errorf("%+v, %v, want nothing left", info, err)
			}
			waiting := make(chan error, 1)
			go func() { waiting <- bus.Publish(t.Context(), &orderShipped{Base: eventbus.NewBase("patient")}) }()
			control(t, broker, "eval", alarm.clear)
			if err := <-waiting; err != nil {
				t.Errorf("what waited for the end of the alarm: %v", err)
			}
			if err := bus.Publish(t.Context(), events()...); err != nil {
				t.Errorf("after the alarm: %v", err)
			}
			recorder.Wait(t, before+taken+4)
			if n := recorder.Len(); n != before+taken+4 {
				t.Errorf("%d events were handled, want %d: none that was refused", n, before+taken+4)
			}
			if s := bus.TransportStats(); s.Consuming.Reconnections+s.Publishing.Reconnections != 0 {
				t.Errorf("connections were lost: %+v", s)
			}
		})
	}
}

// An alarm that lasts holds up no shutdown: the deadlines of what is under way
// do, and the broker's silence for a few seconds.
func testShutdownInAlarm(t *testing.T, broker *brokers.Instance) {
	t.Helper()
	bus, err := rabbitbus.Open(t.Context(), rabbitbus.Config{
		URL: broker.URL(), ExchangeName: name(t, broker.URL(), "shut"), PublishOnly: true, AllowUnroutable: true, Registry: registry(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	control(t, broker, "eval", "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).")
	defer control(t, broker, "eval", "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).")
	eventually(t, "publishing is blocked", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		var blocked *rabbitbus.BlockedError
		return errors.As(bus.Publish(ctx, events()...), &blocked)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	began := time.Now()
	if _, err := bus.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	t.Logf("shutdown took %v", time.Since(began))
	if ctx.Err() != nil {
		t.Error("shutdown waited for the end of the alarm")
	}
}
