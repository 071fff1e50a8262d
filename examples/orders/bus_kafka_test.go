package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/integration/brokers"
)

// ownKafkaTopic returns the flags for a topic of the test's own, gone at its end.
func ownKafkaTopic(t *testing.T) []string {
	t.Helper()
	addr := brokers.KafkaBrokers(t)
	topic := "orders-test-" + eventbus.NewID()
	dropKafka(t, addr, topic)
	return []string{"-bus=kafka", "-kafka=" + addr, "-topic=" + topic}
}

// dropKafka removes a topic at the end of the test.
func dropKafka(t *testing.T, addr, topic string) {
	t.Helper()
	t.Cleanup(func() {
		client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(addr, ",")...))
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		if _, err := kadm.NewClient(client).DeleteTopics(context.Background(), topic+".stream", topic+".stream.dlq"); err != nil {
			t.Error(err)
		}
	})
}

func TestStory_OverKafka(t *testing.T) {
	t.Parallel()
	flags := ownKafkaTopic(t)
	for range 2 { // the second run finds the topic and what the first has left
		wantStory(t, runOrders(t.Context(), nil, flags...))
	}
	// Another group gets the history first, and says so.
	r := runOrders(t.Context(), nil, append(flags, "-group=newcomer")...)
	if r.code != 0 {
		t.Errorf("got code %d, %s", r.code, r.err)
	}
	wantAll(t, "the output", r.out, "on events that were on the topic from other runs", "Check: all 10 accepted events")
}

func TestWorkers_OverKafka(t *testing.T) {
	t.Parallel()
	r := runOrders(t.Context(), nil, append(ownKafkaTopic(t), "-workers=2", "-concurrency=8", "-input=testdata/orders.jsonl")...)
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

func TestWorkers_OneIsKilledOverKafka(t *testing.T) {
	t.Parallel()
	l := start(t, append(ownKafkaTopic(t), "-input=-", "-workers=2", "-concurrency=4", "-work=20ms", "-patience=5s")...)
	pid := l.worker(t, 1)
	l.orders(t, 0, 150)
	l.goesOn(t, 40)
	if worker, err := os.FindProcess(pid); err != nil || worker.Kill() != nil {
		t.Errorf("worker 1 cannot be killed: %v", err)
	}
	l.orders(t, 150, 300)
	r := l.end(t)
	wantAll(t, "standard error", r.err, "worker 1 (process "+strconv.Itoa(pid)+") has ended before its time: signal: killed; what it had begun comes to the others in about 5s")
	wantAll(t, "the output", r.out, "Check: all 300 accepted events were handled ", " worker 1 ended before ")
	if r.code != 0 {
		t.Errorf("got code %d", r.code)
	}
}
