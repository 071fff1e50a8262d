package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	client9 "github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/router"
)

// customers send orders, each with an id of its own, to whatever process there
// is, and never twice: what they were not promised, they forget.
type customers struct {
	url atomic.Value // string

	mu       sync.Mutex
	accepted map[string]bool // 202
	refused  map[string]bool // 503
	unsure   map[string]bool // no answer, or 504
}

func (c *customers) send(t *testing.T) int {
	t.Helper()
	id := eventbus.NewID()
	status, _ := ask(t, http.MethodPost, c.url.Load().(string)+"/orders", id, order)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch status {
	case http.StatusAccepted:
		c.accepted[id] = true
	case http.StatusServiceUnavailable:
		c.refused[id] = true
	default:
		c.unsure[id] = true
	}
	return status
}

func (c *customers) happy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.accepted)
}

// Two processes, one after the other, get SIGTERM in the middle of the traffic;
// a third one handles what is left. Every order that was accepted is handled by
// every handler, once; what it was told to forget is not there.
func TestService_SIGTERMInTheMiddleOfTheTraffic(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM to send on Windows")
	}
	url := brokers.Redis(t)
	binary := filepath.Join(t.TempDir(), "service")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	topic := ownTopic(t, url)
	b := newBook()
	start := func(process string) (p *exec.Cmd, address string) {
		p = exec.CommandContext(t.Context(), binary)
		p.Env = append(os.Environ(), "SERVICE_ADDR=127.0.0.1:0", "SERVICE_BUS=redis", "SERVICE_URL="+url, "SERVICE_TOPIC="+topic,
			"SERVICE_INSTANCE=pod-0", "SERVICE_CONCURRENCY=4", "SERVICE_WORK=10ms", "SERVICE_LINGER=500ms")
		out, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		p.Stderr = &errs
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		go b.read(out, process)
		t.Cleanup(func() {
			if errs.Len() > 0 {
				t.Errorf("%s: %s", process, errs.String())
			}
		})
		return p, "http://" + b.address(t, process)
	}
	term := func(p *exec.Cmd) {
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	exits := func(process string, p *exec.Cmd) {
		await(t, process+" has said how it ended", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.last[process].Msg != "" })
		if err := p.Wait(); err != nil {
			t.Errorf("%s: %v", process, err)
		}
	}

	c := &customers{accepted: map[string]bool{}, refused: map[string]bool{}, unsure: map[string]bool{}}
	first, address := start("first")
	c.url.Store(address)
	var crowd sync.WaitGroup
	gone := make(chan struct{})
	for range 4 {
		crowd.Go(func() {
			for pace := time.NewTicker(8 * time.Millisecond); ; {
				select {
				case <-gone:
					pace.Stop()
					return
				case <-pace.C:
					c.send(t)
				}
			}
		})
	}
	await(t, "the first process is at work", func() bool { return c.happy() > 200 && b.count("send-invoice") > 50 })
	term(first)
	// It is not ready from the start of the drain, and goes on serving those who
	// have not noticed.
	await(t, "the first process is not ready", func() bool {
		code, _ := ask(t, http.MethodGet, address+"/ready", "", "")
		return code == http.StatusServiceUnavailable
	})
	wantHealth(t, address+"/ready", http.StatusServiceUnavailable, router.Health{Live: true, Reason: "draining"})
	if status := c.send(t); status != http.StatusAccepted {
		t.Errorf("an order in the meantime: %d", status)
	}
	exits("first", first)

	second, address := start("second")
	then := c.happy()
	c.url.Store(address)
	await(t, "the second process is at work", func() bool { return c.happy() > then+100 })
	term(second)
	exits("second", second)
	close(gone)
	crowd.Wait()
	third, _ := start("third")
	await(t, "every order is handled", func() bool { return b.handledAll(c.accepted) })
	term(third)
	exits("third", third)

	account(t, b, c)
}

// handledAll reports whether every handler has handled all the orders.
func (b *book) handledAll(orders map[string]bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range orders {
		if b.handled["send-invoice"][id] == 0 || b.handled["reserve-stock"][id] == 0 || b.handled["thank"][id+"-invoice"] == 0 {
			return false
		}
	}
	return true
}

// account compares what was promised with what was done.
func account(t *testing.T, b *book, c *customers) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for handler, suffix := range map[string]string{"send-invoice": "", "reserve-stock": "", "thank": "-invoice"} {
		done := b.of(handler)
		want := len(c.accepted)
		for id := range c.accepted {
			if n := done[id+suffix]; n != 1 {
				t.Errorf("%s handled the accepted order %s %d times", handler, id, n)
			}
		}
		for id := range c.refused {
			if n := done[id+suffix]; n != 0 {
				t.Errorf("%s handled the refused order %s %d times", handler, id, n)
			}
		}
		for id := range c.unsure {
			switch n := done[id+suffix]; n {
			case 0:
			case 1:
				want++
			default:
				t.Errorf("%s handled the order %s %d times", handler, id, n)
			}
		}
		if len(done) != want {
			t.Errorf("%s handled %d events, %d were sent", handler, len(done), want)
		}
	}
	// A handler that knows an event says nothing, so the log alone would not show a
	// repetition: the counts of the processes do.
	events, sum := 2*len(b.of("send-invoice")), 0 // each order makes two
	for _, process := range []string{"first", "second", "third"} {
		sum += b.last[process].Handled
	}
	if sum != events {
		t.Errorf("%d deliveries were handled to the end, of %d events", sum, events)
	}
	if len(c.refused) > 0 {
		t.Errorf("%d orders were refused by a process that could still publish", len(c.refused))
	}
	// It was in the middle: each process left work, which the next one did.
	for _, process := range []string{"first", "second", "third"} {
		if len(b.by[process]) == 0 {
			t.Errorf("the %s process has handled nothing", process)
		}
	}
	for _, process := range []string{"first", "second"} {
		if b.last[process].Finished == 0 {
			t.Errorf("the %s process had nothing in hand when it was told to stop: %+v", process, b.last[process])
		}
	}
	for _, other := range b.other {
		t.Error(other)
	}
	t.Logf("%d accepted, %d refused, %d without an answer; handled by first %d, second %d, third %d", len(c.accepted), len(c.refused), len(c.unsure),
		len(b.by["first"]), len(b.by["second"]), len(b.by["third"]))
}

// ownTopic returns a topic of the test's own, gone at its end.
func ownTopic(t *testing.T, url string) string {
	t.Helper()
	topic := "service-test-" + eventbus.NewID()
	opts, err := client9.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		rdb := client9.NewClient(opts)
		if err := rdb.Del(context.Background(), topic+":stream", topic+":stream_dlq").Err(); err != nil {
			t.Error(err)
		}
		_ = rdb.Close() // a second time is no matter
	})
	return topic
}
