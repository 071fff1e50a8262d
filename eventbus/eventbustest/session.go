package eventbustest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// session is one run of one case: its names, its buses, its waiting.
type session struct {
	testing.TB
	h     Harness
	c     Case
	topic string
	group string
	logs  *logbook
	opens atomic.Int64
}

func newSession(t testing.TB, h Harness, c Case) *session {
	s := &session{TB: t, h: h, c: c, logs: &logbook{}}
	name := strings.ToLower(c.Name)
	if len(name) > 40 {
		name = name[:40]
	}
	run := strings.ToLower(rand.Text()[:8])
	s.topic = fmt.Sprintf("leat-%s-%s", run, name)
	s.group = "group-" + run
	return s
}

func (s *session) has(f Feature) bool {
	_, lacking := s.h.Lacks[f]
	return !lacking
}

// ctx ends with the case's patience.
func (s *session) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), s.h.Patience) // not the test's, which ends before the cleanups
	s.Cleanup(cancel)
	return ctx
}

// scaled makes a number of events as large as the harness bears.
func (s *session) scaled(n int) int {
	if s.h.Small || testing.Short() {
		return max(n/10, 1)
	}
	return n
}

// quick is the retry policy of most cases.
func quick() middleware.Retry {
	return middleware.Retry{MaxRetries: 2, BaseDelay: 2 * time.Millisecond, MaxDelay: 5 * time.Millisecond}
}

// options are those of a bus on the case's topic and group.
func (s *session) options(alter ...func(*Options)) Options {
	s.Helper()
	o := Options{
		Topic: s.topic, Group: s.group, Consumer: fmt.Sprintf("consumer-%d", s.opens.Add(1)),
		Registry: newRegistry(s), Retry: quick(), DrainTimeout: s.h.Patience, Logger: slog.New(s.logs),
	}
	for _, a := range alter {
		a(&o)
	}
	return o
}

func (s *session) tryOpen(alter ...func(*Options)) (Instance, error) {
	s.Helper()
	return s.h.Open(s.TB, s.options(alter...))
}

// open is tryOpen that succeeds; the bus is shut down at the end.
func (s *session) open(alter ...func(*Options)) *node {
	s.Helper()
	in, err := s.tryOpen(alter...)
	if err != nil {
		s.Fatalf("open: %v", err)
	}
	if in.Bus == nil {
		s.Fatal("the harness's Open returned neither a bus nor an error")
	}
	n := &node{Instance: in, s: s}
	s.Cleanup(n.cleanup)
	return n
}

// start is open and run, for a topic that is still empty.
func (s *session) start(alter ...func(*Options)) *node {
	s.Helper()
	n := s.open(alter...)
	n.run()
	return n
}

// node is one bus in a case.
type node struct {
	Instance
	s       *session
	ran     chan error // the result of Run
	stopped bool
	crashed bool
}

// run starts to consume. Where the topic may hold events already, handlers are
// subscribed before: what nobody wants at that moment is skipped.
func (n *node) run() {
	n.s.Helper()
	n.begin()
	n.running()
}

// begin is run without waiting.
func (n *node) begin() {
	ran := make(chan error, 1)
	n.ran = ran
	go func() { ran <- n.Bus.Run(context.Background()) }() // Shutdown ends it, not the test's context
}

// running waits until the bus consumes.
func (n *node) running() {
	n.s.Helper()
	select {
	case <-n.Bus.Running():
	case err := <-n.ran:
		n.s.Fatalf("Run returned before it consumed: %v", err)
	case <-time.After(n.s.h.Patience):
		n.s.Fatalf("not consuming %v after Run was called", n.s.h.Patience)
	}
}

// stop shuts the bus down, which must work.
func (n *node) stop() eventbus.Report {
	n.s.Helper()
	report, err := n.shutdown(n.s.h.Patience)
	if err != nil {
		n.s.Errorf("shutdown: %v", err)
	}
	return report
}

// shutdown gives the drain so much time, and waits for Run.
func (n *node) shutdown(within time.Duration) (eventbus.Report, error) {
	n.s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within) // not the test's, which ends before the cleanups
	defer cancel()
	n.stopped = true
	report, err := n.Bus.Shutdown(ctx)
	if n.ran != nil {
		select {
		case ran := <-n.ran:
			if ran != nil && err == nil && !n.crashed {
				n.s.Errorf("Run returned %v after a clean shutdown", ran)
			}
		case <-time.After(n.s.h.Patience):
			n.s.Errorf("Run did not return after Shutdown had")
		}
		n.ran = nil
	}
	return report, err
}

func (n *node) crash() {
	n.s.Helper()
	if n.Crash == nil {
		n.s.Fatalf("the harness's instances have no Crash: declare that the bus lacks %s", CrashRecovery)
	}
	n.crashed = true
	n.Crash()
}

// cleanup ends what the case left running; after a failure that may be anything.
func (n *node) cleanup() {
	if n.stopped {
		return
	}
	within := n.s.h.Patience
	if n.s.Failed() || n.crashed {
		within = min(within, time.Second)
	}
	_, err := n.shutdown(within)
	if err != nil && !n.s.Failed() && !n.crashed {
		n.s.Errorf("shutdown at the end of the case: %v", err)
	}
}

// on subscribes a function to the type placed.
func (n *node) on(name string, h func(ctx context.Context, e placed) error, opts ...eventbus.SubscribeOption) *eventbus.Subscription {
	n.s.Helper()
	sub, err := eventbus.Subscribe(n.Bus, name, h, opts...)
	if err != nil {
		n.s.Fatalf("subscribe: %v", err)
	}
	return sub
}

// record subscribes a recorder to the type placed.
func (n *node) record(name string) *Recorder {
	n.s.Helper()
	return n.recordWith(name, nil)
}

// recordWith is record with a recorder that does something.
func (n *node) recordWith(name string, do func(context.Context, eventbus.Event) error, opts ...eventbus.SubscribeOption) *Recorder {
	n.s.Helper()
	r := &Recorder{Do: do, Timeout: n.s.h.Patience}
	if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), name, r, opts...); err != nil {
		n.s.Fatalf("subscribe: %v", err)
	}
	return r
}

// recordAll subscribes a recorder to all events.
func (n *node) recordAll(name string) *Recorder {
	n.s.Helper()
	r := &Recorder{Timeout: n.s.h.Patience}
	if _, err := n.Bus.SubscribeToAllEvents(name, r); err != nil {
		n.s.Fatalf("subscribe: %v", err)
	}
	return r
}

// publish publishes, which must work.
func (n *node) publish(events ...eventbus.Event) {
	n.s.Helper()
	if err := n.Bus.Publish(n.s.ctx(), events...); err != nil {
		n.s.Fatalf("publish: %v", err)
	}
}

// publishing publishes on a goroutine: where Publish waits for handlers, and
// the case wants to do something meanwhile. The case must receive the result.
func (n *node) publishing(events ...eventbus.Event) <-chan error {
	ctx := n.s.ctx()
	done := make(chan error, 1)
	go func() { done <- n.Bus.Publish(ctx, events...) }()
	return done
}

// published receives what publishing promised.
func (s *session) published(done <-chan error) {
	s.Helper()
	select {
	case err := <-done:
		if err != nil {
			s.Fatalf("publish: %v", err)
		}
	case <-time.After(s.h.Patience):
		s.Fatalf("Publish did not return within %v", s.h.Patience)
	}
}

// stall holds up publishing until release is called; at the end of the case at
// the latest.
func (n *node) stall() (release func()) {
	n.s.Helper()
	if !n.s.has(Synchronous) {
		if n.Stall == nil {
			n.s.Fatalf("the harness's instances have no Stall: declare that the bus lacks %s", Stalling)
		}
		return n.s.once(n.Stall())
	}
	g := n.s.gate()
	n.on("stall", func(ctx context.Context, _ placed) error { return g.wait(ctx) })
	return g.open
}
