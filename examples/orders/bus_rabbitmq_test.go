package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// ownExchange returns the flags for a topic of the test's own on RabbitMQ, gone
// at its end, and the name of its queue.
func ownExchange(t *testing.T) (flags []string, queue string) {
	t.Helper()
	url := brokers.RabbitMQ(t)
	topic := "orders-test-" + eventbus.NewID()
	dropExchange(t, url, topic)
	return []string{"-bus=rabbitmq", "-rabbitmq=" + url, "-topic=" + topic}, rabbitbus.QueueName(topic, "shop")
}

// dropExchange removes a topic at the end of the test.
func dropExchange(t *testing.T, url, topic string) {
	t.Helper()
	t.Cleanup(func() {
		conn, err := amqp.Dial(url)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			t.Error(err)
			return
		}
		for _, group := range []string{"shop", "newcomer"} {
			queue := rabbitbus.QueueName(topic, group)
			_, _ = ch.QueueDelete(queue, false, false, false)                          // what is not there
			_, _ = ch.QueueDelete(rabbitbus.DeadQueueName(queue), false, false, false) // needs no deletion
		}
		_ = ch.ExchangeDelete(topic, false, false)
		_ = ch.ExchangeDelete(rabbitbus.DeadExchangeName(topic), false, false)
	})
}

func TestStory_OverRabbitMQ(t *testing.T) {
	t.Parallel()
	flags, _ := ownExchange(t)
	for range 2 { // the second run finds the queue and what the first has left
		wantStory(t, runOrders(t.Context(), nil, flags...))
	}
	// A queue gets what is published after it was made: no history for a group
	// that comes later.
	r := runOrders(t.Context(), nil, append(flags, "-group=newcomer")...)
	wantStory(t, r)
}

func TestInput_OverRabbitMQ(t *testing.T) {
	t.Parallel()
	flags, _ := ownExchange(t)
	wantFile(t, runOrders(t.Context(), nil, append(flags, "-input=testdata/orders.jsonl")...))
}

func TestWorkers_OverRabbitMQ(t *testing.T) {
	t.Parallel()
	flags, _ := ownExchange(t)
	r := runOrders(t.Context(), nil, append(flags, "-workers=2", "-concurrency=8", "-input=testdata/orders.jsonl")...)
	wantFile(t, r)
	events, runs := 0, 0
	for _, process := range []string{"this one", "worker 1", "worker 2"} {
		e, n, end := share(t, r.out, process)
		if e == 0 || end != "drained" {
			t.Errorf("%s has handled %d events, and %s", process, e, end)
		}
		events, runs = events+e, runs+n
	}
	if events != 5273 || runs != 11229 {
		t.Errorf("the processes have handled %d events in %d runs, want 5273 in 11229", events, runs)
	}
}

func TestWorkers_OneIsKilledOverRabbitMQ(t *testing.T) {
	t.Parallel()
	flags, _ := ownExchange(t)
	l := start(t, append(flags, "-input=-", "-workers=2", "-concurrency=4", "-work=20ms", "-patience=5s")...)
	pid := l.worker(t, 1)
	l.orders(t, 0, 150)
	l.goesOn(t, 40)
	if worker, err := os.FindProcess(pid); err != nil || worker.Kill() != nil {
		t.Errorf("worker 1 cannot be killed: %v", err)
	}
	l.orders(t, 150, 160)
	r := l.end(t)
	if r.code != 0 {
		t.Errorf("got code %d", r.code)
	}
	wantAll(t, "standard error", r.err, "worker 1 (process "+strconv.Itoa(pid)+") has ended before its time: signal: killed; what it had begun comes to the others at once")
	wantAll(t, "the output", r.out, "Check: all 160 accepted events were handled ", " worker 1 ended before ")
	runs := 0
	for _, process := range []string{"this one", "worker 1", "worker 2"} {
		_, n, _ := share(t, r.out, process)
		runs += n
	}
	if runs < 320 {
		t.Errorf("%d runs, want two for each event", runs)
	}
}

func TestWorkers_ADeadLetterOverRabbitMQ(t *testing.T) {
	t.Parallel()
	flags, _ := ownExchange(t)
	l := start(t, append(flags, "-input=-", "-workers=2", "-patience=5s")...)
	for i := range 9 {
		id := strconv.Itoa(i)
		for _, c := range []string{`"create","order":"o-` + id + `","customer":"Ann"`, `"add_item","order":"o-` + id + `","sku":"moon-dust","quantity":1,"price_cents":1`} {
			if _, err := io.WriteString(l, `{"command":`+c+"}\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := l.end(t)
	if r.code != 1 {
		t.Errorf("got code %d, want 1", r.code)
	}
	wantCount(t, r.err, ": warehouse gave up on it; it is a dead letter (event ", 9)
}

func TestStart_WithoutRabbitMQ(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r := runOrders(t.Context(), nil, "-bus=rabbitmq", "-rabbitmq=amqp://user:hush@127.0.0.1:1/")
	if r.code != 1 || strings.Contains(r.err+r.out, "hush") || time.Since(began) > time.Minute {
		t.Errorf("got code %d, %s%s", r.code, r.out, r.err)
	}
	wantAll(t, "standard error", r.err, "cannot start: rabbitbus: connect 127.0.0.1:1: ")
}
