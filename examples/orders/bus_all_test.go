package main

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/integration/brokers"
)

// overAll runs on every bus, on a topic of the test's own, and returns what each
// has handled.
func overAll(t *testing.T, flags ...string) (fleet, result) {
	t.Helper()
	redis, rabbit, kafka, topic := brokers.Redis(t), brokers.RabbitMQ(t), brokers.KafkaBrokers(t), "orders-test-"+eventbus.NewID()
	dropRedis(t, redis, topic)
	dropExchange(t, rabbit, topic)
	dropKafka(t, kafka, topic)
	var out, errs screen
	c := &console{out: &out, err: &errs}
	opt, b, err := parse(append(flags, "-bus=all", "-redis="+redis, "-rabbitmq="+rabbit, "-kafka="+kafka, "-topic="+topic), c.err)
	if err != nil {
		t.Fatal(err)
	}
	f, err := openFleet(t.Context(), opt, b.each, c)
	if err != nil {
		t.Fatal(err)
	}
	code := f.run(t.Context(), nil)
	return f, result{code, out.String(), errs.String()}
}

// wantEachOnce accounts for every event: each bus has handled the same ones, each
// handler once.
func wantEachOnce(t *testing.T, f fleet, events, runs int) {
	t.Helper()
	if len(f) != 4 {
		t.Fatalf("%d buses, want 4", len(f))
	}
	ids := slices.Sorted(maps.Keys(f[0].tally.events))
	if len(ids) != events {
		t.Errorf("%d events were published, want %d", len(ids), events)
	}
	for _, p := range f {
		if got := slices.Sorted(maps.Keys(p.tally.events)); !slices.Equal(got, ids) {
			t.Errorf("%s had %d other events than %s", p.name, len(got), f[0].name)
		}
		sum := 0
		for id, e := range p.tally.events {
			for i, by := range e.runs {
				if sum += len(by); len(by) != 1 {
					t.Errorf("%s: %s handled %s %d times", p.name, p.tally.wants[e.typ][i], id, len(by))
				}
			}
		}
		if s := p.bus.Stats(); sum != runs || s.EventsPublished != int64(events) || p.tally.by[0].foreign != 0 {
			t.Errorf("%s: %d runs (want %d) of %d published events, and %d of others", p.name, sum, runs, s.EventsPublished, p.tally.by[0].foreign)
		}
	}
}

// wantRows checks lines of the table: what, then the same count on each bus.
func wantRows(t *testing.T, out string, rows map[string]string) {
	t.Helper()
	_, table, _ := strings.Cut(out, "Statistics, a column a bus\n\n")
	found := map[string]string{}
	for l := range strings.Lines(table) {
		if f := strings.Fields(l); len(f) > 4 {
			found[strings.Join(f[:len(f)-4], " ")] = strings.Join(f[len(f)-4:], " ")
		} else if len(f) == 4 {
			found["header"] = strings.Join(f, " ")
		}
	}
	for what, n := range rows {
		want := strings.TrimSuffix(strings.Repeat(n+" ", 4), " ")
		if found[what] != want {
			t.Errorf("%q is %q, want %q", what, found[what], want)
		}
	}
	if found["header"] != "memory redis rabbitmq kafka" {
		t.Errorf("the columns are %q", found["header"])
	}
}

func TestAll_TheStory(t *testing.T) {
	t.Parallel()
	f, r := overAll(t)
	if r.code != 0 || r.err != "" {
		t.Errorf("got code %d and on standard error %q", r.code, r.err)
	}
	wantEachOnce(t, f, 10, 20)
	wantRows(t, r.out, map[string]string{
		"events published": "10", "events consumed": "11", "succeeded": "10", "skipped": "0",
		"handler runs": "26", "retries": "5", "dead letters": "1", "replayed": "1", "handed back": "0", "not exactly once": "0",
	})
	for _, bus := range []string{"memory", "redis", "rabbitmq", "kafka"} {
		wantCount(t, r.out, "   > replay ItemAdded of o-3 for warehouse on "+bus+"\n", 1)
	}
	wantAll(t, "the output", r.out, "Check: all 10 accepted events were handled exactly once by every handler that wants them, on each of the 4 buses.\n")
}

func TestAll_TheGeneratedFile(t *testing.T) {
	t.Parallel()
	f, r := overAll(t, "-input=testdata/orders.jsonl", "-concurrency=8")
	if r.code != 0 {
		t.Errorf("got code %d, %s", r.code, r.err)
	}
	wantEachOnce(t, f, 5273, 11229)
	wantRows(t, r.out, map[string]string{"events published": "5,273", "events consumed": "5,273", "succeeded": "5,273", "handler runs": "11,229", "dead letters": "0"})
	wantAll(
		t, "the output", r.out, "5,273 commands accepted, 5 refused, 5,273 events published.\n", "What the handlers made of them, on each bus\n",
		"  ledger      800 payments, 87530.89 in all\n", "Check: all 5,273 accepted events were handled exactly once ",
	)
}

// The other buses go on, and get nothing twice.
func TestAll_RedisGoesAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	rabbit, kafka, topic := brokers.RabbitMQ(t), brokers.KafkaBrokers(t), "orders-test-"+eventbus.NewID()
	dropExchange(t, rabbit, topic)
	dropKafka(t, kafka, topic)
	out := redisGoesAway(t, "-bus=all", "-rabbitmq="+rabbit, "-kafka="+kafka, "-topic="+topic)
	wantRows(t, out, map[string]string{"accepted events": "300", "runs that succeeded": "600", "not exactly once": "0", "dead letters": "0"})
	consumed := regexp.MustCompile(`events consumed +300 +\d+ +300 +300\n`) // Redis may have what it could not confirm twice
	if !consumed.MatchString(out) {
		t.Errorf("a bus that was there has not consumed 300:\n%s", out)
	}
}

func TestAll_ALetterFailsTheCheckOnEachBus(t *testing.T) {
	t.Parallel()
	one, two := memory(), memory()
	one.name, two.name = "one", "two"
	var out, errs screen
	f, err := openFleet(t.Context(), options{bus: "all"}, []backend{one, two}, &console{out: &out, err: &errs})
	if err != nil {
		t.Fatal(err)
	}
	f[1].handlers.warehouse.mend() // so that one bus alone has the letter
	for _, do := range thirdOrder() {
		if err := f[0].shop.do(t.Context(), do); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	code := f.report(make([]eventbus.Report, len(f)))
	for _, p := range f {
		if err := p.shutDown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wantCount(t, errs.String(), "warehouse gave up on it; it is a dead letter", 1)
	wantAll(t, "standard error", errs.String(), "On one:\nCheck FAILED: of 3 accepted events")
	if code != 1 || strings.Contains(errs.String(), "On two") || strings.Contains(out.String(), "Check: all") {
		t.Errorf("got code %d and\n%s", code, out.String())
	}
}

func TestAll_WithoutAnAddress(t *testing.T) {
	t.Parallel()
	r := runOrders(t.Context(), nil, "-bus=all", "-redis=", "-kafka=", "-worker")
	want := "-bus=all: it needs a Redis, a RabbitMQ and a Kafka, and has no address from -kafka and -redis\n"
	if r.code != 2 || !strings.Contains(r.err, want) || !strings.Contains(r.err, `-worker: the bus "all" has no use for it`) {
		t.Errorf("got code %d, %s", r.code, r.err)
	}
}

func TestAll_WithoutBrokers(t *testing.T) {
	t.Parallel()
	r := runOrders(t.Context(), nil, "-bus=all", "-redis=redis://user:hush@127.0.0.1:1/0", "-rabbitmq=amqp://user:hush@127.0.0.1:1/", "-kafka=127.0.0.1:1")
	if r.code != 1 || r.out != "" || strings.Contains(r.err, "hush") {
		t.Errorf("got code %d, %s%s", r.code, r.out, r.err)
	}
	wantAll(t, "standard error", r.err,
		"cannot start: -bus=all needs a Redis, a RabbitMQ and a Kafka (-redis, -rabbitmq, -kafka), and cannot use redis and rabbitmq and kafka: redisbus: ",
		"; rabbitbus: connect 127.0.0.1:1: ", "; kafkabus: ")
}

// scriptedBus answers with the next error each time, and remembers what it was
// asked to publish.
type scriptedBus struct {
	answers []error
	asked   []string
}

func (b *scriptedBus) Publish(_ context.Context, events ...eventbus.Event) error {
	var ids []string
	for _, e := range events {
		ids = append(ids, e.EventBase().EventID)
	}
	b.asked = append(b.asked, strings.Join(ids, "+"))
	err := b.answers[0]
	b.answers = b.answers[1:]
	return err
}

// What a bus has confirmed is not published there again for another's sake.
func TestAll_PublishAgainWhereItIsMissing(t *testing.T) {
	t.Parallel()
	half := &eventbus.PublishError{Topic: "t", Results: []eventbus.Result{{EventID: "a", Outcome: eventbus.Confirmed}, {EventID: "b", Outcome: eventbus.Refused, Err: errors.New("full")}}}
	good, partly, away := &scriptedBus{answers: []error{nil}}, &scriptedBus{answers: []error{half, nil}}, &scriptedBus{answers: []error{errors.New("gone"), nil}}
	var all publishers
	for name, b := range map[string]*scriptedBus{"good": good, "partly": partly, "away": away} {
		all = append(all, &outlet{name: name, to: b, out: map[string]bool{}})
	}
	a, b := &OrderCreated{Base: eventbus.Base{EventID: "a"}}, &OrderCreated{Base: eventbus.Base{EventID: "b"}}
	err := all.Publish(t.Context(), a, b)
	told := (*eventbus.PublishError)(nil)
	if err == nil || errors.As(err, &told) {
		t.Fatalf("got %v: it must not look as if the confirmed ones were out everywhere", err)
	}
	wantAll(t, "the error", err.Error(), "away: gone", "partly: ", "full")
	if err := all.Publish(t.Context(), a, b); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		name string
		got  []string
		want string
	}{{"good", good.asked, "a+b"}, {"partly", partly.asked, "a+b b"}, {"away", away.asked, "a+b a+b"}} {
		if got := strings.Join(c.got, " "); got != c.want {
			t.Errorf("%s was asked for %q, want %q", c.name, got, c.want)
		}
	}
}
