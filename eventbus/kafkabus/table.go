package kafkabus

import "sync"

// table is the partitions that a subscription owns, and all that is in flight.
type table struct {
	mu    sync.Mutex
	parts map[int32]*partition
	freed chan struct{} // one token: something was settled
}

func newTable() *table {
	return &table{parts: make(map[int32]*partition), freed: make(chan struct{}, 1)}
}

// full returns the partitions that are not paused and have no room.
func (t *table) full(records, bytes int) []*partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*partition
	for _, p := range t.parts {
		if !p.paused && !p.moving && p.full(records, bytes) {
			list = append(list, p)
		}
	}
	return list
}

func (t *table) pause(p *partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.paused = true
}

// all returns the partitions.
func (t *table) all() []*partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*partition, 0, len(t.parts))
	for _, p := range t.parts {
		list = append(list, p)
	}
	return list
}

// some returns those of the partitions that are owned.
func (t *table) some(ids []int32) []*partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*partition
	for _, id := range ids {
		if p := t.parts[id]; p != nil {
			list = append(list, p)
		}
	}
	return list
}

// open returns how many records are read and not done.
func (t *table) open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, p := range t.parts {
		n += p.open
	}
	return n
}

// begin notes that a worker has the entry, and reports false when it is not to
// be handled any more.
func (t *table) begin(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := e.p
	if p.gone || p.moving && e.delivery.Offset > p.reach {
		return false
	}
	e.running, e.offered = true, !p.moving && !e.over
	return true
}

// end is the other end of begin: an entry that is not settled is given back.
func (t *table) end(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.running = false
	if !e.settled && !e.p.gone {
		e.given = true
		e.p.relimit()
	}
}

// handed notes that a handler has the entry.
func (t *table) handed(e *entry) {
	e.handed.Store(true)
	select {
	case <-e.p.limited:
		t.mu.Lock()
		defer t.mu.Unlock()
		e.p.relimit()
	default:
	}
}

// needed decides about an entry that no handler has when its partition goes: it
// is still to be handled if otherwise something behind it would be done again,
// and is given back if not, or if there is no time left. It waits until that is
// certain, or for late.
func (t *table) needed(e *entry, late <-chan struct{}) bool {
	for {
		t.mu.Lock()
		p := e.p
		e.offered = false
		p.relimit()
		offset, changed := e.delivery.Offset, p.changed
		no := p.gone || offset > p.reach || p.live.Err() != nil
		yes := !no && offset <= p.limit
		if no {
			e.given = true
			p.relimit()
		}
		t.mu.Unlock()
		if yes || no {
			return yes
		}
		select {
		case <-changed:
		case <-p.abandon:
			return false
		case <-late:
			return false
		}
	}
}

// move ends the handing out.
func (t *table) move(parts []*partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range parts {
		p.move()
	}
}

// quiet reports whether nothing of the partition is worth waiting for.
func (t *table) quiet(p *partition) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return p.want == 0
}

// settled is what became of a settled entry.
type settled struct {
	ours   bool     // else its partition is somebody else's now
	resume bool     // there is room for more of the partition
	idle   bool     // nothing else is left to do
	next   []*entry // of a careful partition: what comes now
}

func (t *table) settle(e *entry, records, bytes int) settled {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := e.p
	if p.gone || e.settled {
		return settled{}
	}
	p.settle(e)
	signal(t.freed)
	s := settled{ours: true}
	if p.paused && p.roomy(records, bytes) {
		p.paused, s.resume = false, true
	}
	if e.careful || e.over {
		p.busy = false
		s.next = p.release()
	}
	s.idle = true
	for _, q := range t.parts {
		if q.open > 0 {
			s.idle = false
			break
		}
	}
	return s
}

// release returns what may go into the lanes: one careful entry, or all when
// there is none left. It is called with the table locked.
func (p *partition) release() []*entry {
	if p.busy || len(p.pending) == 0 {
		return nil
	}
	n := len(p.pending)
	if e := p.pending[0]; e.careful || e.over {
		p.busy = true
		n = 1
	}
	out := p.pending[:n:n]
	p.pending = p.pending[n:]
	return out
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
