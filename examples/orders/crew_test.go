package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/integration/brokers"
)

// live is a run that a test feeds and looks at.
type live struct {
	*io.PipeWriter
	out, errs screen
	ended     chan int
}

// start begins a run whose standard input is the test's.
func start(t *testing.T, args ...string) *live {
	t.Helper()
	pr, pw := io.Pipe()
	l := &live{PipeWriter: pw, ended: make(chan int, 1)}
	go func() {
		l.ended <- run(context.WithoutCancel(t.Context()), args, pr, &console{out: &l.out, err: &l.errs, tty: true})
	}()
	t.Cleanup(func() { _ = pw.Close() }) // a second time is no matter
	return l
}

// orders gives it commands, one event each.
func (l *live) orders(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := io.WriteString(l, `{"command":"create","order":"o-`+strconv.Itoa(i)+`","customer":"Ann"}`+"\n"); err != nil {
			t.Error(err)
		}
	}
}

// end ends its input and waits for it.
func (l *live) end(t *testing.T) result {
	t.Helper()
	_ = l.Close() // a pipe: no error
	select {
	case code := <-l.ended:
		return result{code, l.out.String(), l.errs.String()}
	case <-time.After(2 * time.Minute):
		t.Fatalf("it does not end:\n%s%s", l.out.String(), l.errs.String())
		return result{}
	}
}

// within waits until the condition holds.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for begun := time.Now(); !holds(); <-time.After(5 * time.Millisecond) {
		if time.Since(begun) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// worker returns the process id of a worker, once it runs.
func (l *live) worker(t *testing.T, i int) int {
	t.Helper()
	said := regexp.MustCompile(fmt.Sprintf(`worker %d: process (\d+), `, i))
	within(t, time.Minute, "a worker that consumes", func() bool { return said.MatchString(l.out.String()) })
	pid, err := strconv.Atoi(said.FindStringSubmatch(l.out.String())[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// goesOn waits until handlers have run some more times, two seconds at most: a
// broker that is away longer makes the living look dead.
func (l *live) goesOn(t *testing.T, more int) {
	t.Helper()
	status := regexp.MustCompile(`([\d,]+) handler runs`)
	runs := func() int {
		all := status.FindAllStringSubmatch(l.errs.String(), -1)
		if len(all) == 0 {
			return 0
		}
		return number(t, all[len(all)-1][1])
	}
	begun, before := time.Now(), runs()
	within(t, time.Minute, "handlers that go on", func() bool {
		return runs() >= before+more || time.Since(begun) > 2*time.Second
	})
}

// share returns what the closing table says about a process.
func share(t *testing.T, out, process string) (events, runs int, end string) {
	t.Helper()
	row := regexp.MustCompile(`(?m)^  ` + process + ` +orders-\S+ +([\d,]+) +([\d,]+) +(.+)$`).FindStringSubmatch(out)
	if row == nil {
		t.Fatalf("%s is not in the table:\n%s", process, out)
	}
	return number(t, row[1]), number(t, row[2]), row[3]
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.ReplaceAll(s, ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWorkers_TheGeneratedFile(t *testing.T) {
	t.Parallel()
	overRedis(t, func(t *testing.T, bus string) {
		t.Helper()
		r := runOrders(t.Context(), nil, append(ownTopic(t, bus, brokers.Redis(t)), "-workers=2", "-concurrency=8", "-input=testdata/orders.jsonl")...)
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
	})
}

// awaitPending waits until a consumer holds so many events.
func awaitPending(t *testing.T, url, consumer string, held int64) {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	defer client.Close()
	within(t, time.Minute, "a worker that holds events", func() bool {
		for _, stream := range []string{"orders", "orders:stream"} {
			for _, c := range client.XInfoConsumers(t.Context(), stream, "shop").Val() {
				if strings.HasPrefix(c.Name, consumer) && c.Pending >= held {
					return true
				}
			}
		}
		return false
	})
}

// While Redis does not answer, the worker handles what it holds and cannot
// acknowledge it; then it is killed. What it had begun comes to the others, and
// what is handled twice is counted.
func TestWorkers_OneIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	overRedis(t, func(t *testing.T, bus string) {
		t.Helper()
		work, held := "200ms", int64(20)
		if bus == "watermill-redis" {
			work, held = "50ms", 2 // one in hand, and what it has read ahead
		}
		server := brokers.StartRedis(t, brokers.RedisOptions{})
		l := start(t, "-bus="+bus, "-redis="+server.URL(), "-input=-", "-workers=2", "-concurrency=2", "-work="+work, "-patience=30s")
		pid := l.worker(t, 1)
		l.orders(t, 0, 150)
		awaitPending(t, server.URL(), fmt.Sprintf("orders-%d-", pid), held)
		if err := server.Pause(); err != nil {
			t.Fatal(err)
		}
		l.goesOn(t, 48)
		if worker, err := os.FindProcess(pid); err != nil || worker.Kill() != nil {
			t.Errorf("worker 1 cannot be killed: %v", err)
		}
		if err := server.Resume(); err != nil {
			t.Fatal(err)
		}
		l.orders(t, 150, 160)
		r := l.end(t)

		if r.code != 0 {
			t.Errorf("got code %d", r.code)
		}
		wantAll(t, "standard error", r.err, "worker 1 (process "+strconv.Itoa(pid)+") has ended before its time: signal: killed; ")
		_, mine, _ := share(t, r.out, "this one")
		_, killed, end := share(t, r.out, "worker 1")
		_, other, _ := share(t, r.out, "worker 2")
		if end != "signal: killed" {
			t.Errorf("worker 1: %s", end)
		}
		runs := mine + killed + other
		repeated := runs - 2*160
		verdict := "Check: all 160 accepted events were handled by every handler that wants them (" + thousands(runs) + " runs).\n" +
			"Handled more than once because of the crash: " + thousands(repeated) + " runs were repeated, for worker 1 ended before it could acknowledge them.\n"
		if repeated == 0 && bus == "watermill-redis" { // it asks at once that each event be acknowledged
			verdict = "Check: all 160 accepted events were handled exactly once by every handler that wants them (320 runs).\n" +
				"Nothing was handled more than once, although worker 1 ended before its time.\n"
		} else if repeated < 1 {
			t.Errorf("%d runs were repeated", repeated)
		}
		wantAll(t, "the output", r.out, "\nStatistics (without worker 1, which could not tell)\n", verdict)
		t.Logf("%d runs of the killed worker, %d repeated", killed, repeated)
	})
}

func TestWorkers_ADeadLetterOfAnyProcessFailsTheRun(t *testing.T) {
	t.Parallel()
	overRedis(t, func(t *testing.T, bus string) {
		t.Helper()
		l := start(t, append(ownTopic(t, bus, brokers.Redis(t)), "-input=-", "-workers=2")...)
		for i := range 9 { // each process gets some
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
		wantAll(t, "the output", r.out, "  dead letters               9 ")
	})
}

func TestWorkers_ThatCannotStart(t *testing.T) {
	t.Parallel()
	p := &program{opt: options{workers: 1, forWorkers: []string{"-bus=redis", "-redis=redis://127.0.0.1:1"}}}
	var errs screen
	p.console, p.tally = &console{out: io.Discard, err: &errs}, newTally(nil, 2)
	err := p.hire(t.Context())
	p.crew.stop()
	if err == nil || err.Error() != "worker 1 ended at once: exit status 1" {
		t.Errorf("got %v", err)
	}
	wantAll(t, "standard error", errs.String(), "worker 1: cannot start: redisbus: ")
}

// A worker started by hand: the run sees that others have done their part, and
// that all was acknowledged.
func TestWorker_ByHand(t *testing.T) {
	t.Parallel()
	overRedis(t, func(t *testing.T, bus string) {
		t.Helper()
		flags := ownTopic(t, bus, brokers.Redis(t))
		byHand := start(t, append(flags, "-worker")...)
		within(t, time.Minute, "a worker that consumes", func() bool { return strings.Contains(byHand.out.String(), "\n") })
		r := runOrders(t.Context(), nil, append(flags, "-input=testdata/orders.jsonl", "-concurrency=8")...)
		w := byHand.end(t)

		lines := strings.Split(strings.TrimSpace(w.out), "\n")
		var first, last note
		if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
			t.Fatal(err)
		}
		runs := len(lines) - 2
		if w.code != 0 || w.err != "" || last.Final == nil || last.Final.Stats.HandlersInvoked != int64(runs) || runs == 0 {
			t.Errorf("the worker: code %d, %s, %d lines, the last one %s", w.code, w.err, len(lines), lines[len(lines)-1])
		}
		if r.code != 0 {
			t.Errorf("got code %d, %s", r.code, r.err)
		}
		wantAll(t, "the output", r.out,
			"Check: all 5,273 accepted events were handled by every handler that wants them, as far as can be seen here ("+thousands(11229-runs)+" runs).\n",
			"Not seen here: "+thousands(runs)+" runs. The group has acknowledged everything, so these were done by its other consumers: "+first.Consumer+".\n")
	})
}
