package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

func TestDrain_FinishesWhatRunsAndHandsBackTheRestAtOnce(t *testing.T) {
	leaktest.Check(t)
	client := connect(t, brokers.Redis(t))
	stream := name("drain")
	batch := make([]*message.Message, 50)
	for i := range batch {
		batch[i] = msg(fmt.Sprint(i), fmt.Sprint(i))
	}
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, batch...)
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client, Concurrency: 2})
	out := subscribe(t, sub, stream)
	a, b := next(t, out), next(t, out)

	type result struct {
		report router.Report
		err    error
	}
	drained := make(chan result, 1)
	go func() {
		r, err := sub.Drain(context.WithoutCancel(t.Context()))
		drained <- result{r, err}
	}()
	eventually(t, "the drain has begun", func() bool {
		_, err := sub.Subscribe(t.Context(), "x")
		return errors.Is(err, redisbus.ErrClosed)
	})
	select {
	case r := <-drained:
		t.Fatalf("the drain ended (%+v) before the handlers", r)
	case <-a.Context().Done():
		t.Fatal("a running handler's context ended")
	case <-time.After(50 * time.Millisecond):
	}
	a.Ack()
	b.Ack()
	got := <-drained

	if got.err != nil || got.report.Finished != 2 || got.report.HandedBack != 48 {
		t.Errorf("drain: %+v, %v, want 2 finished and 48 handed back", got.report, got.err)
	}
	if _, ok := <-out; ok {
		t.Error("the channel gave a message after the drain")
	}
	if n := pendingOf(t, client, stream, "g"); n != 48 {
		t.Errorf("%d pending after the drain, want the 48", n)
	}
	if again, err := sub.Drain(t.Context()); again != (router.Report{}) || err != nil {
		t.Errorf("second drain: %+v, %v", again, err)
	}
	// The next consumer does not wait for the idle time of a minute, and a
	// shutdown counts as no delivery.
	heir := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client, Concurrency: 48}), stream)
	for range 48 {
		m := next(t, heir)
		if d := middleware.DeliveryFrom(m.Context()); d.Count != 1 || m.UUID == a.UUID || m.UUID == b.UUID {
			t.Errorf("%s came as delivery %d, want the first of one that was not finished", m.UUID, d.Count)
		}
		m.Ack()
	}
}

func TestDrain_PastTheDeadlineContextsEndWithTheCause(t *testing.T) {
	client := shared(t)
	stream := name("late")
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("1", "k"))
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, stream)
	m := next(t, out)
	ended := make(chan error, 1)
	go func() {
		<-m.Context().Done()
		ended <- context.Cause(m.Context())
		m.Nack()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	report, err := sub.Drain(ctx)

	if !errors.Is(err, router.ErrDrainDeadline) || report.HandedBack != 1 || report.Finished != 0 {
		t.Errorf("drain: %+v, %v", report, err)
	}
	if cause := <-ended; !errors.Is(cause, router.ErrDrainDeadline) {
		t.Errorf("cause %v, want ErrDrainDeadline", cause)
	}
	if n := pendingOf(t, client, stream, "g"); n != 1 {
		t.Errorf("%d pending, want the one that was not finished", n)
	}
}

func TestDrain_DeafHandlerDoesNotHoldItUp(t *testing.T) {
	client := shared(t)
	stream := name("deaf")
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), stream, msg("1", "k"))
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client})
	m := next(t, subscribe(t, sub, stream))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	report, err := sub.Drain(ctx)
	if took := time.Since(began); took > 10*time.Second || !errors.Is(err, router.ErrDrainDeadline) || report.HandedBack != 1 {
		t.Errorf("drain: %+v, %v after %v", report, err, took)
	}
	m.Ack() // too late, and harmless
	heir := next(t, subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client}), stream))
	if heir.UUID != "1" {
		t.Errorf("the heir got %s", heir.UUID)
	}
	heir.Ack()
}

// The server hangs: neither acks nor the read come to an end by themselves.
func TestDrain_ServerHangs(t *testing.T) {
	leaktest.Check(t)
	server := brokers.StartRedis(t, brokers.RedisOptions{})
	client := patient(t, server.URL()) // no way out by itself
	publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), "s", msg("1", "k"))
	sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client})
	m := next(t, subscribe(t, sub, "s"))
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	m.Ack()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	report, _ := sub.Drain(ctx)
	took := time.Since(began)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	// The ack could not be confirmed, so the message is not called finished.
	if took > 10*time.Second || report.HandedBack != 1 || report.Finished != 0 {
		t.Errorf("drain: %+v after %v", report, took)
	}
}

// Many drains under load: what was finished is never delivered again.
func TestDrain_FinishedIsNeverRepeated(t *testing.T) {
	client := shared(t)
	stream := name("rolling")
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	const total = 3000
	var batch []*message.Message
	for i := range total {
		batch = append(batch, msg(fmt.Sprint(i), fmt.Sprint(i%37)))
	}
	publish(t, pub, stream, batch...)
	var mu sync.Mutex
	finished := map[string]int{}
	for round := 0; ; round++ {
		sub := newSubscriber(t, redisbus.SubscriberConfig{
			Client: client, Concurrency: 8, PendingIdleTime: 200 * time.Millisecond, ConsumerName: fmt.Sprint("round-", round),
		})
		out := subscribe(t, sub, stream)
		var handlers sync.WaitGroup
		stop := time.After(time.Duration(20+round%7*10) * time.Millisecond)
		handlers.Go(func() {
			for m := range out {
				handlers.Go(func() {
					<-time.After(300 * time.Microsecond)
					mu.Lock()
					finished[m.UUID]++
					mu.Unlock()
					m.Ack()
				})
			}
		})
		<-stop
		if _, err := sub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		handlers.Wait()
		mu.Lock()
		n := len(finished)
		mu.Unlock()
		if n == total {
			break
		}
		if round > 500 {
			t.Fatalf("%d of %d finished in %d rounds", n, total, round)
		}
	}
	for id, n := range finished {
		if n != 1 {
			t.Errorf("%s finished %d times, want once", id, n)
		}
	}
	if n := pendingOf(t, client, stream, "g"); n != 0 {
		t.Errorf("%d still pending", n)
	}
}
