package transport

import (
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/middleware"
)

// Workers are the goroutines of a subscription that hand out its messages. Those
// that call a handler themselves can be left behind in it. All methods may be
// called from many goroutines.
type Workers struct {
	log    *slog.Logger
	work   func(*Worker)
	exited func(task any, acked bool)
	busy   sync.WaitGroup
	idle   chan struct{}

	left atomic.Bool // nobody waits for handlers any more
	mu   sync.Mutex
	all  []*Worker
}

// Worker is one of them. It belongs to its goroutine.
type Worker struct {
	workers *Workers
	mu      sync.Mutex
	calls   bool
	task    any  // of the call
	gone    bool // left behind: nothing is its business any more
	exited  bool // its handler ended the goroutine,
	acked   bool // with that result
}

// StartWorkers starts n goroutines that run work. Once abandon is closed, those
// that are in a handler are not waited for. When a handler ends the goroutine
// that calls it, another one takes its place, and first calls exited, for what
// ought to follow on the call of that task.
func StartWorkers(n int, abandon <-chan struct{}, log *slog.Logger, work func(*Worker), exited func(task any, acked bool)) *Workers {
	w := &Workers{log: log, work: work, exited: exited, idle: make(chan struct{})}
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
	w.all = append(slices.DeleteFunc(w.all, (*Worker).isGone), worker)
	w.mu.Unlock()
	w.busy.Add(1)
	go func() {
		returned := false
		defer func() {
			if !returned {
				worker.replace()
			}
			worker.end()
		}()
		work(worker)
		returned = true
	}()
}

// replace puts another worker in the place of one whose goroutine was ended,
// unless it was left behind before: then its place is taken.
func (w *Worker) replace() {
	w.mu.Lock()
	gone, exited, task, acked := w.gone, w.exited, w.task, w.acked
	w.mu.Unlock()
	if gone {
		return
	}
	w.workers.start(func(next *Worker) {
		if exited {
			w.workers.exited(task, acked)
		}
		w.workers.work(next)
	})
}

// leave leaves behind everybody who is in a handler.
func (w *Workers) leave() {
	w.left.Store(true)
	w.mu.Lock()
	all := slices.Clone(w.all)
	w.mu.Unlock()
	for _, worker := range all {
		if _, ok := worker.leave(func(any) bool { return true }); ok {
			w.busy.Done()
		}
	}
}

// Leave leaves behind those who are in a handler with a task of the given kind,
// and puts others in their place, who first do what ought to follow on the task.
func (w *Workers) Leave(kind func(task any) bool, follows func(task any)) {
	w.mu.Lock()
	all := slices.Clone(w.all)
	w.mu.Unlock()
	for _, worker := range all {
		task, ok := worker.leave(kind)
		if !ok {
			continue
		}
		w.start(func(next *Worker) {
			follows(task)
			w.work(next)
		})
		w.busy.Done()
	}
}

// leave leaves the worker behind, if it is in a handler with a task of the kind.
func (w *Worker) leave(kind func(any) bool) (task any, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.calls || w.gone || !kind(w.task) {
		return nil, false
	}
	w.gone = true
	return w.task, true
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

func (w *Worker) isGone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone
}

// Call calls handle with msg and settles msg by what it returns, as a router
// does: whoever settled it first counts. It returns false when the worker was
// left behind meanwhile: it must touch nothing any more, and end. The task is
// what Leave knows the call by.
func (w *Worker) Call(handle func(*message.Message) error, msg *message.Message, task any) (acked, here bool) {
	w.mu.Lock()
	if w.workers.left.Load() {
		w.mu.Unlock()
		return false, false
	}
	w.calls, w.task = true, task
	w.mu.Unlock()
	err := w.guarded(handle, msg)
	w.mu.Lock()
	w.calls, w.task = false, nil
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
	returned := false
	defer func() {
		if r := recover(); r != nil {
			stack := debug.Stack()
			err = &middleware.PanicError{Value: r, Stack: stack}
			w.workers.log.Error("handling panicked outside of its middleware, the message is delivered again",
				"event_id", msg.UUID, "error", err, "stack", string(stack))
		} else if !returned {
			w.exit(msg)
		}
	}()
	err = handle(msg)
	returned = true
	return err
}

// exit notes that the handler has ended the goroutine. What it did not settle is
// nacked.
func (w *Worker) exit(msg *message.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls = false; !w.gone {
		w.exited, w.acked = true, !msg.Nack()
	}
}
