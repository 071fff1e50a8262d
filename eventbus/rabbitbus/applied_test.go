package rabbitbus_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// A quorum queue of a broker that is behind forgets acknowledgements beyond the
// 32nd when their channel closes (rabbitmq-server#10327). What was deleted must
// not come again.
func TestStore_DeletesManyForGood(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		url := brokers.RabbitMQ(t)
		store := openStore(t, url, name(t, url, "thinned"), topology)
		const total = 200
		var ids []string
		for n := range total {
			id, err := store.Bury(t.Context(), dlqtest.Letter(n))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		var odd, even []string
		for n, id := range ids {
			if n%2 == 1 {
				odd = append(odd, id)
			} else {
				even = append(even, id)
			}
		}
		if n, err := store.Delete(t.Context(), odd...); n != len(odd) || err != nil {
			t.Fatalf("deleted %d, %v, want %d", n, err, len(odd))
		}
		var left []string
		for _, l := range letters(t, store, dlq.Query{}) {
			left = append(left, l.ID)
		}
		if !slices.Equal(left, even) {
			t.Errorf("%d letters are left, want %d, the others in their order", len(left), len(even))
		}
	})
}

func TestDrain_ManyFinishedOutOfOrderDoNotComeAgain(t *testing.T) {
	t.Parallel()
	broker := brokers.StartRabbitMQ(t, brokers.RabbitMQOptions{})
	client := connect(t, broker.URL())
	const total, atOnce = 200, 100
	topic := "holes"
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{Client: client, Concurrency: atOnce, PrefetchCount: 2 * atOnce})
	if err := sub.SubscribeInitialize(topic); err != nil {
		t.Fatal(err)
	}
	msgs := batch(total, "")
	for _, m := range msgs {
		m.Metadata["aggregate_id"] = m.UUID // a lane each
	}
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: client}), topic, msgs...)
	out, err := sub.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var held []*message.Message
	var first *message.Message
	for len(held) < atOnce-1 || first == nil {
		if m := <-out; m.UUID == msgs[0].UUID {
			first = m
		} else {
			held = append(held, m)
		}
	}
	drained := make(chan error, 1)
	go func() {
		_, err := sub.Drain(t.Context())
		drained <- err
	}()
	eval := func(expression string) {
		if out, err := broker.Rabbitmqctl(t.Context(), "eval", expression); err != nil {
			t.Errorf("%s: %v", out, err)
		}
	}
	eval("sys:suspend(ra_log_wal).") // what quorum queues write to
	for _, m := range held {
		m.Ack()
	}
	first.Nack() // so that the others are not acknowledged together
	// Nothing can be seen of a drain that waits as it should; one that does not is through.
	select {
	case err := <-drained:
		t.Errorf("the drain was over before the broker had applied the acknowledgements: %v", err)
		drained <- err
	case <-time.After(100 * time.Millisecond):
	}
	eval("sys:resume(ra_log_wal).")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	want := total - len(held)
	eventually(t, "what is not finished is back", func() bool { return ready(t, raw(t, broker.URL()), topic+".g") >= want })
	if n := ready(t, raw(t, broker.URL()), topic+".g"); n != want {
		t.Errorf("%d messages are in the queue, want the %d that were not finished", n, want)
	}
}

// A suspect has its turn when the broker has applied the acknowledgements of those
// before it: they would be counted among its victims, those beyond the 32nd. A
// drain that begins meanwhile waits for the same, and repeats nothing.
func TestSuspect_WaitsForTheAcknowledgementsBeforeIt(t *testing.T) {
	t.Parallel()
	broker := brokers.StartRabbitMQ(t, brokers.RabbitMQOptions{})
	eval := func(expression string) {
		t.Helper()
		if out, err := broker.Rabbitmqctl(t.Context(), "eval", expression); err != nil {
			t.Errorf("%s: %v", out, err)
		}
	}
	sub, out := behind(t, broker, "suspects", eval)
	none(t, out, 200*time.Millisecond)
	eval("sys:resume(ra_log_wal).")
	if m := next(t, out); m.UUID != "suspect" || !m.Ack() {
		t.Errorf("%s comes, want the suspect", m.UUID)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}

	sub, out = behind(t, broker, "drained", eval)
	none(t, out, 200*time.Millisecond)
	drained := make(chan error, 1)
	go func() {
		_, err := sub.Drain(t.Context())
		drained <- err
	}()
	eval("sys:resume(ra_log_wal).")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	look := raw(t, broker.URL())
	eventually(t, "the suspect is back", func() bool { return ready(t, look, "drained.g") > 0 })
	if n := ready(t, look, "drained.g"); n != 1 {
		t.Errorf("%d messages are in the queue, want the suspect alone", n)
	}
}

// behind returns a subscription with a suspect behind 61 messages that are
// acknowledged one by one, to a broker that does not write its log.
func behind(t *testing.T, broker *brokers.Instance, topic string, eval func(string)) (*rabbitbus.Subscriber, <-chan *message.Message) {
	t.Helper()
	const before = 60
	store := openStore(t, broker.URL(), topic, rabbitbus.TopologyConfig{})
	client := connect(t, broker.URL())
	// Each message is acknowledged alone, because the first one is held.
	sub := newSubscriber(t, rabbitbus.SubscriberConfig{
		Client: client, PrefetchCount: 4 * before, Concurrency: before + 1, MaxDeliveries: 2, DeadLetters: store,
	})
	if err := sub.SubscribeInitialize(topic); err != nil {
		t.Fatal(err)
	}
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: client})
	publish(t, pub, topic, msg("suspect", "s"))
	look := raw(t, broker.URL())
	ch := raw(t, broker.URL())
	if _, ok, err := ch.Get(topic+".g", false); !ok || err != nil {
		t.Fatalf("get: %v, %v", ok, err)
	}
	out := subscribe(t, sub, topic)
	msgs := batch(before+1, "")
	for i, m := range msgs {
		m.Metadata["aggregate_id"] = fmt.Sprint(i)
	}
	publish(t, pub, topic, msgs...)
	held := make(map[string]*message.Message)
	for range msgs {
		m := next(t, out)
		held[m.UUID] = m
	}
	if err := ch.Close(); err != nil { // the suspect comes again, behind them
		t.Fatal(err)
	}
	eventually(t, "the suspect has come", func() bool { return sub.Stats().InFlight == before+2 && ready(t, look, topic+".g") == 0 })
	eval("sys:suspend(ra_log_wal).")
	for i := range before + 1 {
		if id := fmt.Sprint(before - i); id != "0" {
			acked := sub.Stats().Acked
			held[id].Ack()
			eventually(t, "its acknowledgement is written", func() bool { return sub.Stats().Acked > acked })
		}
	}
	held["0"].Ack()
	return sub, out
}
