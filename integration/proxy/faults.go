package proxy

import (
	"sync"
	"time"
)

// faults is what the proxy does to bytes at the moment. Whoever waits for a
// change of it waits on a channel that each change closes and replaces.
type faults struct {
	mu      sync.Mutex
	changed chan struct{}
	stalled Direction
	dropped Direction
	delay   time.Duration
	cutIn   map[Direction]*int64 // bytes left until a cut
}

// Stall stops the flow in a direction: connections stay open and are accepted,
// bytes wait. When the proxy's and the kernel's buffers are full, writers
// block. [Proxy.Flow] ends it and delivers what waited, in order.
func (p *Proxy) Stall(d Direction) { p.change(func(f *faults) { f.stalled |= d }) }

// Drop throws away, from now on, all bytes of a direction, without telling
// either side. After a Drop a connection can only be cut: bytes are missing.
// [Proxy.Flow] ends it for new connections.
func (p *Proxy) Drop(d Direction) { p.change(func(f *faults) { f.dropped |= d }) }

// Flow ends [Proxy.Stall] and [Proxy.Drop] in a direction.
func (p *Proxy) Flow(d Direction) {
	p.change(func(f *faults) {
		f.stalled &^= d
		f.dropped &^= d
	})
}

// Delay holds every byte back for d in each direction, so that a round trip
// takes 2*d longer. Bandwidth stays: many bytes may be on their way at once.
// 0 ends it; what is on its way then still arrives at its time.
func (p *Proxy) Delay(d time.Duration) { p.change(func(f *faults) { f.delay = d }) }

// HalfOpen makes every connection that is open now half-open: the server sees
// a reset, the client sees nothing, its writes are swallowed and no answer
// ever comes, as after a crash of the server's machine or a firewall that
// forgot. New connections work.
func (p *Proxy) HalfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()

	for c := range p.conns {
		c.abandon()
	}
}

// CutAfter lets n more bytes pass in one direction, counted over all
// connections; the byte after those cuts every connection instead of passing.
// So an answer is cut in the middle, or, with CutAfter(ToClient, 0), a request
// reaches the server and its answer does not come. It works once.
func (p *Proxy) CutAfter(d Direction, n int64) {
	p.change(func(f *faults) {
		if f.cutIn == nil {
			f.cutIn = map[Direction]*int64{}
		}
		f.cutIn[d] = &n
	})
}

func (p *Proxy) change(f func(*faults)) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()

	f(&p.faults)
	close(p.faults.changed)
	p.faults.changed = make(chan struct{})
}

// wait returns a channel that is closed at the next change.
func (f *faults) wait() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.changed
}

// now returns what to do with bytes of one direction.
func (f *faults) now(d Direction) (stalled, dropped bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.stalled&d != 0, f.dropped&d != 0, f.changed
}

func (f *faults) latency() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.delay
}

// allow takes n bytes from what may still pass and says how many of them may,
// and whether the cut is due.
func (f *faults) allow(d Direction, n int) (passing int, cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()

	left, ok := f.cutIn[d]
	if !ok {
		return n, false
	}
	if int64(n) <= *left {
		*left -= int64(n)

		return n, false
	}
	delete(f.cutIn, d)

	return int(*left), true
}
