package transport_test

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

var discard = slog.New(slog.DiscardHandler)

func TestWorkers_IdleWhenAllHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		var n atomic.Int32
		w := transport.StartWorkers(3, nil, discard, func(*transport.Worker) { n.Add(1); <-stop }, nil)
		synctest.Wait()
		if n.Load() != 3 || isClosed(w.Idle()) {
			t.Errorf("%d work, idle %v, want 3, false", n.Load(), isClosed(w.Idle()))
		}
		close(stop)
		<-w.Idle()
	})
}

// Whoever settles the message first counts, as on a router.
func TestWorkers_CallSettlesByWhatTheHandlerReturns(t *testing.T) {
	failed := errors.New("no")
	for name, tc := range map[string]struct {
		handle func(*message.Message) error
		acked  bool
	}{
		"nil is an ack":                  {func(*message.Message) error { return nil }, true},
		"an error is a nack":             {func(*message.Message) error { return failed }, false},
		"a panic is a nack":              {func(*message.Message) error { panic("ouch") }, false},
		"acked early, then an error":     {func(m *message.Message) error { m.Ack(); return failed }, true},
		"nacked by itself, and no error": {func(m *message.Message) error { m.Nack(); return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := message.NewMessage("1", nil)
			var acked, here bool
			w := transport.StartWorkers(1, nil, discard, func(w *transport.Worker) { acked, here = w.Call(tc.handle, m, nil) }, nil)
			<-w.Idle()
			if acked != tc.acked || !here {
				t.Errorf("acked %v, here %v, want %v, true", acked, here, tc.acked)
			}
			if isClosed(m.Acked()) != tc.acked || isClosed(m.Nacked()) == tc.acked {
				t.Error("the message itself tells otherwise")
			}
		})
	}
}

// At the end of its patience a drain leaves handlers behind, but waits for those
// workers that are between two.
func TestWorkers_LeftBehindInTheirHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		abandon, stuck, between := make(chan struct{}), make(chan struct{}), make(chan struct{})
		m := message.NewMessage("1", nil)
		var n atomic.Int32
		result := make(chan bool, 1)
		w := transport.StartWorkers(2, abandon, discard, func(w *transport.Worker) {
			if n.Add(1) == 1 {
				_, here := w.Call(func(*message.Message) error { <-stuck; return nil }, m, nil)
				result <- here
				return
			}
			<-between
		}, nil)
		synctest.Wait()
		close(abandon)
		synctest.Wait()
		if isClosed(w.Idle()) {
			t.Error("idle while a worker is between two handlers")
		}
		close(between)
		<-w.Idle()
		close(stuck)
		if here := <-result; here {
			t.Error("a worker that was left behind was not told")
		}
		if isClosed(m.Acked()) || isClosed(m.Nacked()) {
			t.Error("a message that was handed back was settled afterwards")
		}
	})
}

// A handler may end its goroutine (a test's FailNow does). Another worker does
// what ought to follow, once, and goes on.
func TestWorkers_ReplacedWhenAHandlerEndsTheGoroutine(t *testing.T) {
	for name, tc := range map[string]struct {
		settle func(*message.Message) bool
		acked  bool
	}{
		"what it acked stays acked":    {(*message.Message).Ack, true},
		"what it nacked stays nacked":  {(*message.Message).Nack, false},
		"what it left alone is nacked": {func(*message.Message) bool { return true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var did []string
			n := 0
			m := message.NewMessage("1", nil)
			w := transport.StartWorkers(1, nil, discard, func(w *transport.Worker) {
				if n++; n == 1 {
					w.Call(func(m *message.Message) error { tc.settle(m); runtime.Goexit(); return nil }, m, "task")
				}
				did = append(did, "work")
			}, func(task any, acked bool) { did = append(did, fmt.Sprint(task, acked)) })
			<-w.Idle()
			if want := []string{fmt.Sprint("task", tc.acked), "work"}; !slices.Equal(did, want) {
				t.Errorf("did %v, want %v", did, want)
			}
			if isClosed(m.Acked()) != tc.acked || isClosed(m.Nacked()) == tc.acked {
				t.Error("the message itself tells otherwise")
			}
		})
	}
}

// One that was left behind, and then ends its goroutine, is not replaced twice.
func TestWorkers_LeftBehindAndThenEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, stop := make(chan struct{}), make(chan struct{})
		var works, followed atomic.Int32
		w := transport.StartWorkers(1, nil, discard, func(w *transport.Worker) {
			if works.Add(1) == 1 {
				w.Call(func(*message.Message) error { <-stuck; runtime.Goexit(); return nil }, message.NewMessage("1", nil), "task")
			}
			<-stop
		}, func(any, bool) { t.Error("it did what follows on a message that is not ours any more") })
		synctest.Wait()
		w.Leave(func(any) bool { return true }, func(any) { followed.Add(1) })
		close(stuck)
		synctest.Wait()
		if works.Load() != 2 || followed.Load() != 1 {
			t.Errorf("%d workers, %d in its place, want 2, 1", works.Load(), followed.Load())
		}
		close(stop)
		<-w.Idle()
	})
}

// Those who are in a handler with a certain task are left behind one by one, and
// others do what ought to follow, and go on.
func TestWorkers_LeftBehindWithATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, stuck := make(chan string, 4), make(chan struct{})
		var did []string
		w := transport.StartWorkers(2, nil, discard, func(w *transport.Worker) {
			for task := range tasks {
				acked, here := w.Call(func(*message.Message) error {
					if task != "quick" {
						<-stuck
					}
					return nil
				}, message.NewMessage(task, nil), task)
				if !here {
					return
				}
				if !acked || task == "lost" {
					t.Errorf("%s: acked %v", task, acked)
				}
			}
		}, nil)
		tasks <- "lost"
		tasks <- "kept"
		synctest.Wait()
		tasks <- "quick" // nobody is free
		synctest.Wait()
		if n := len(tasks); n != 1 {
			t.Fatalf("%d tasks wait, want 1", n)
		}
		w.Leave(func(task any) bool { return task == "lost" }, func(task any) { did = append(did, task.(string)) })
		synctest.Wait()
		if n := len(tasks); n != 0 || !slices.Equal(did, []string{"lost"}) {
			t.Errorf("%d tasks wait, want 0: another worker took the place; it did %v, want lost", n, did)
		}
		w.Leave(func(task any) bool { return task == "lost" }, func(any) { t.Error("left behind twice") })
		close(tasks)
		synctest.Wait()
		if isClosed(w.Idle()) {
			t.Error("idle while a worker that was not left behind is in its handler")
		}
		close(stuck)
		<-w.Idle()
	})
}
