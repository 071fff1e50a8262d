package transport

import (
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

// Workers are the goroutines of a subscription that hand out its messages. Those
// that call a handler themselves can be left behind in it.
type Workers struct {
	log  *slog.Logger
	busy sync.WaitGroup
	idle chan struct{}

	mu   sync.Mutex
	left bool
	all  []*Worker
}

// Worker is one of them. It belongs to its goroutine.
type Worker struct {
	workers *Workers
	mu      sync.Mutex
	calls   bool
	gone    bool // left behind: nothing is its business any more
}

// StartWorkers starts n goroutines that run work. Once abandon is closed, those
// that are in a handler are not waited for.
func StartWorkers(n int, abandon <-chan struct{}, log *slog.Logger, work func(*Worker)) *Workers {
	w := &Workers{log: log, idle: make(chan struct{})}
	for range n {
		w.start(work)
	}
	go func() {
		w.busy.Wait()
		close(w.idle)
	}()
	go func() {
		select {
		case <-abandon:
			w.leave()
		case <-w.idle:
		}
	}()
	return w
}

// Idle is closed when all have ended or were left behind.
func (w *Workers) Idle() <-chan struct{} { return w.idle }

func (w *Workers) start(work func(*Worker)) {
	worker := &Worker{workers: w}
	w.mu.Lock()
	worker.gone = w.left
	w.all = append(w.all, worker)
	w.mu.Unlock()
	if worker.gone {
		return
	}
	w.busy.Add(1)
	go func() {
		returned := false
		defer func() {
			if !returned { // a handler ended its goroutine: its message stays where it is
				w.start(work)
			}
			worker.end()
		}()
		work(worker)
		returned = true
	}()
}

func (w *Workers) leave() {
	w.mu.Lock()
	w.left = true
	all := w.all
	w.mu.Unlock()
	for _, worker := range all {
		worker.mu.Lock()
		if worker.calls && !worker.gone {
			worker.gone = true
			w.busy.Done()
		}
		worker.mu.Unlock()
	}
}

// end takes the worker off the count, once.
func (w *Worker) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone {
		w.gone = true
		w.workers.busy.Done()
	}
}

// Call calls handle with msg and settles msg by what it returns, as a router
// does: whoever settled it first counts. It returns false when the worker was
// left behind meanwhile: it must touch nothing any more, and end.
func (w *Worker) Call(handle func(*message.Message) error, msg *message.Message) (acked, here bool) {
	w.mu.Lock()
	w.calls = true
	w.mu.Unlock()
	err := w.guarded(handle, msg)
	w.mu.Lock()
	w.calls = false
	gone := w.gone
	w.mu.Unlock()
	if gone {
		return false, false
	}
	if err != nil {
		return !msg.Nack(), true
	}
	return msg.Ack(), true
}

func (w *Worker) guarded(handle func(*message.Message) error, msg *message.Message) (err error) {
	defer func() {
		if r := recover(); r != nil {
			stack := debug.Stack()
			err = &middleware.PanicError{Value: r, Stack: stack}
			w.workers.log.Error("handling panicked outside of its middleware, the message is delivered again",
				"event_id", msg.UUID, "error", err, "stack", string(stack))
		}
	}()
	return handle(msg)
}
