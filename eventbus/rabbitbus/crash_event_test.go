package rabbitbus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

func TestBus_AnEventThatKillsItsProcessIsBuried(t *testing.T) {
	t.Parallel()
	// Acknowledgements that are on their way when the process dies are lost.
	for _, delay := range []time.Duration{0, 10 * time.Millisecond} {
		t.Run(fmt.Sprintf("the broker is %v away", delay), func(t *testing.T) {
			t.Parallel()
			killerIsBuried(t, delay)
		})
	}
}

func killerIsBuried(t *testing.T, delay time.Duration) {
	t.Helper()
	address := brokers.RabbitMQ(t)
	exchange := name(t, address, "killer")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := map[int]int{}
	var mu sync.Mutex
	// Each life handles one event after another until the killer comes.
	const limit = 4
	for life := 1; ; life++ {
		proxied, p := throughProxy(t, address)
		p.Delay(delay)
		bus, err := rabbitbus.Open(ctx, rabbitbus.Config{
			URL: proxied, ExchangeName: exchange, ConsumerGroup: "g", Registry: registry(t), MaxDeliveries: limit, Concurrency: 2,
		})
		if err != nil {
			t.Fatal(err)
		}
		killed := make(chan struct{})
		var once sync.Once
		_, err = eventbus.Subscribe(bus, "h", func(ctx context.Context, e orderCreated) error {
			mu.Lock()
			seen[e.Amount]++
			mu.Unlock()
			if e.Amount == 2 {
				_ = p.Refuse()
				p.Cut()
				once.Do(func() { close(killed) })
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if life == 1 {
			for n := range 5 {
				if err := bus.Publish(ctx, &orderCreated{Base: eventbus.NewBase("o"), Amount: n}); err != nil {
					t.Fatal(err)
				}
			}
		}
		var ran sync.WaitGroup
		ran.Go(func() { _ = bus.Run(context.Background()) })
		done := false
		for !done {
			select {
			case <-killed:
				done = true
			case <-time.After(20 * time.Millisecond):
				mu.Lock()
				done = seen[4] > 0
				mu.Unlock()
			}
		}
		mu.Lock()
		over := seen[4] > 0
		mu.Unlock()
		if over {
			letters := bus.DeadLetters()
			n, err := letters.Count(ctx)
			if err != nil || n != 1 {
				t.Errorf("%d letters, %v, want one", n, err)
			}
			for l, err := range letters.List(ctx, dlq.Query{}) {
				if err != nil || l.Reason != "delivery_limit_exceeded" || l.Attempts != limit {
					t.Errorf("letter %+v, %v", l, err)
				}
			}
			if s := bus.Stats(); s.MessagesSentToDLQ != 1 {
				t.Errorf("stats %+v, want one sent to the dead letters", s)
			}
		}
		brief, stop := context.WithTimeout(ctx, 10*time.Millisecond) // its handler hangs
		_, _ = bus.Shutdown(brief)
		stop()
		ran.Wait()
		if over {
			break
		}
		if life > 3*limit {
			t.Fatalf("not buried after %d lives", life)
		}
	}
	if seen[2] != limit {
		t.Errorf("the killer ran %d times, want %d", seen[2], limit)
	}
	for _, n := range []int{0, 1, 3, 4} {
		if seen[n] == 0 {
			t.Errorf("event %d was never handled: %v", n, seen)
		}
	}
}
