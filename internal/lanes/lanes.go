// Package lanes orders work by key: items of one key are released one at a
// time and in the order in which they were added, items of different keys to
// as many workers as ask. It is the one place where law 9 (order by key) is
// made; the transports and the drain decorator stand on it.
package lanes

import "sync"

// Lanes is a first-in first-out queue per key in front of a pool of workers.
// A worker takes an item with Take, and calls Done with its key when it is
// settled; only then is the next item of that key released. It holds whatever
// is added: the caller bounds what is unsettled.
//
// All methods may be called from many goroutines.
type Lanes[T any] struct {
	strict bool

	mu     sync.Mutex
	wake   sync.Cond
	ready  fifo[entry[T]]
	busy   map[string]*fifo[T] // a key is here from its release to its Done
	spare  []*fifo[T]
	held   int // waiting behind a busy key
	out    int // taken and not done
	closed bool
}

type entry[T any] struct {
	key  string
	item T
}

// New returns the lanes for a pool of workers. With one worker the keys are
// ignored and the order is strictly that of Add.
func New[T any](workers int) *Lanes[T] {
	l := &Lanes[T]{strict: workers <= 1, busy: make(map[string]*fifo[T])}
	l.wake.L = &l.mu
	return l
}

// Add queues item behind the earlier items of its key. Items with an empty key
// have no order among each other, except with one worker. It never blocks, and
// reports false when the lanes are closed: the item stays the caller's.
func (l *Lanes[T]) Add(key string, item T) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(key, item)
}

// AddAll adds the items in their order, each under its key, as Add does, with
// one lock for all.
func (l *Lanes[T]) AddAll(items []T, key func(T) string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, item := range items {
		if !l.add(key(item), item) {
			return false // they are all the caller's: it cannot close meanwhile
		}
	}
	return true
}

func (l *Lanes[T]) add(key string, item T) bool {
	if l.closed {
		return false
	}
	if l.strict || key == "" {
		l.ready.push(entry[T]{key, item})
		l.wake.Signal()
		return true
	}
	if waiting, ok := l.busy[key]; ok {
		waiting.push(item)
		l.held++
		return true
	}
	l.busy[key] = l.lane()
	l.ready.push(entry[T]{key, item})
	l.wake.Signal()
	return true
}

// Take blocks until an item can be released, and returns it. It reports false
// when the lanes are closed.
func (l *Lanes[T]) Take() (key string, item T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && l.ready.len() == 0 {
		l.wake.Wait()
	}
	if l.closed {
		return "", item, false
	}
	e := l.ready.pop()
	l.out++
	return e.key, e.item, true
}

// Done tells that the item taken under key is settled, and releases the next
// one of that key. Each taken item wants exactly one Done.
func (l *Lanes[T]) Done(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out--
	if l.strict || key == "" || l.closed {
		return
	}
	waiting := l.busy[key]
	if waiting == nil {
		return
	}
	if waiting.len() == 0 {
		delete(l.busy, key)
		if len(l.spare) < 1024 {
			l.spare = append(l.spare, waiting)
		}
		return
	}
	l.held--
	l.ready.push(entry[T]{key, waiting.pop()})
	l.wake.Signal()
}

// Len returns how many items are queued and how many are taken but not done.
func (l *Lanes[T]) Len() (queued, taken int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready.len() + l.held, l.out
}

// Ready returns how many items wait for nothing but a worker.
func (l *Lanes[T]) Ready() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready.len()
}

// Close ends Take for all workers and returns the items that were never
// taken, in no particular order across keys. A second call returns nil.
func (l *Lanes[T]) Close() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.wake.Broadcast()
	left := make([]T, 0, l.ready.len()+l.held)
	for l.ready.len() > 0 {
		left = append(left, l.ready.pop().item)
	}
	for _, waiting := range l.busy {
		for waiting.len() > 0 {
			left = append(left, waiting.pop())
		}
	}
	l.busy, l.spare, l.held = nil, nil, 0
	return left
}

func (l *Lanes[T]) lane() *fifo[T] {
	if n := len(l.spare); n > 0 {
		f := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return f
	}
	return &fifo[T]{}
}
