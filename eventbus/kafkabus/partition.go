package kafkabus

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus/internal/msgctx"
	"github.com/leat-go/leat/middleware"
)

// entry is one record from its reading until it and all before it are done.
type entry struct {
	p        *partition
	msg      *message.Message // the first delivery; later ones are copies
	ctx      msgctx.Context   // of the first delivery
	delivery middleware.Delivery
	epoch    int32
	size     int
	careful  bool // it may be what kills processes: marked and alone
	over     bool // it did so too often: to be buried
	settled  bool // handled, buried, or nobody's
	empty    bool // a tombstone: to pass over it again costs nothing
	running  bool // a worker has it
	offered  bool // a handler may have it, or have it at any moment
	given    bool // a drain or a rebalance has given up on it

	handed atomic.Bool // a handler has it
}

func (e *entry) key() string { return e.delivery.Key }

// partition is one that this member owns. All fields but the channels and
// contexts are guarded by the table's mutex.
type partition struct {
	id int32

	// live is the parent of the messages' contexts; it ends when the partition is
	// lost, or with the drain.
	live context.Context //nolint:containedctx // see above
	kill context.CancelCauseFunc

	window []*entry // read and not committable, in the order of their offsets
	open   int      // of them, not settled
	bytes  int      // of those
	done   int64    // all before is done; noOffset: nothing yet
	epoch  int32
	next   int64 // the offset that the next fetch begins with, as far as known
	paused bool

	committed int64  // as the broker has confirmed
	said      string // the metadata it has with it
	crash     crash
	pending   []*entry // not in the lanes yet
	busy      bool     // a careful entry is under way
	unsure    int64    // records before this one may have been delivered before

	limited chan struct{} // closed: hand out nothing behind limit
	moving  bool          // the same, with the mutex held
	limit   int64         // the last record that was handed out or is done
	reach   int64         // the last that is, or may be yet
	want    int           // records that are worth waiting for: running, or before reach
	changed chan struct{} // closed, and made anew, when limit or reach changed
	quiet   chan struct{} // one token: want became 0
	abandon chan struct{} // closed: wait for no handler any more
	gone    bool          // not ours any more: nothing is committed
}

const noOffset = -1

func newPartition(parent context.Context, id int32) *partition {
	p := &partition{
		id: id, done: noOffset, next: noOffset, committed: noOffset, epoch: -1,
		limit: noOffset, reach: noOffset, crash: crash{mark: noOffset},
		limited: make(chan struct{}), abandon: make(chan struct{}), quiet: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	p.live, p.kill = context.WithCancelCause(parent)
	return p
}

// add appends what was read.
func (p *partition) add(batch []*entry) {
	p.window = append(p.window, batch...)
	for _, e := range batch {
		if !e.settled {
			p.open++
			p.bytes += e.size
		}
	}
	p.advance()
}

// settle notes that e is done with.
func (p *partition) settle(e *entry) {
	if e.settled {
		return
	}
	e.settled = true
	e.msg = nil // what waits behind a busy key is an offset, no payload
	p.open--
	p.bytes -= e.size
	p.advance()
	p.relimit()
}

// move ends the handing out. What is before a record that is done or in a
// handler's hands is still worth handling: without it, that one could not be
// committed and would be done again.
func (p *partition) move() {
	if !p.moving {
		p.moving = true
		close(p.limited)
	}
	p.relimit()
}

// relimit looks again what is worth waiting for.
func (p *partition) relimit() {
	if !p.moving {
		return
	}
	limit, reach := p.limit, p.reach
	p.limit, p.reach, p.want = noOffset, noOffset, 0
	for _, e := range p.window {
		if e.given && !e.settled {
			break // what is behind it is done again anyway, and its key's have to wait
		}
		switch {
		case e.settled && !e.empty || e.handed.Load() && !e.given:
			p.limit, p.reach = e.delivery.Offset, e.delivery.Offset
		case e.offered && !e.given:
			p.reach = e.delivery.Offset
		}
	}
	for _, e := range p.window {
		if !e.settled && !e.given && (e.running || e.delivery.Offset <= p.reach) {
			p.want++
		}
	}
	if p.want == 0 {
		signal(p.quiet)
	}
	if p.limit != limit || p.reach != reach {
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// cut notes that the log goes on with an earlier record than the group has come
// to: it lost its end, or is another one of the same name. The offsets that are
// known mean other records.
func (p *partition) cut() {
	p.committed = noOffset
	if len(p.window) == 0 {
		p.done = noOffset
	}
	if !p.crash.asked {
		p.crash = crash{mark: noOffset}
	}
}

// advance moves done over what is settled without a gap.
func (p *partition) advance() {
	n := 0
	for n < len(p.window) && p.window[n].settled {
		p.done, p.epoch = p.window[n].delivery.Offset+1, p.window[n].epoch
		n++
	}
	if n == 0 {
		return
	}
	clear(p.window[:n])
	if n == len(p.window) {
		p.window = p.window[:0]
		return
	}
	p.window = p.window[n:]
}

// full and roomy are the two ends of the pause between fetches.
func (p *partition) full(records, bytes int) bool {
	return len(p.window) >= records || p.bytes >= bytes
}

func (p *partition) roomy(records, bytes int) bool {
	return len(p.window) <= records/2 && p.bytes <= bytes/2
}

// position returns what can be committed; noOffset: nothing.
func (p *partition) position() int64 {
	if p.done != noOffset {
		return p.done
	}
	return p.committed
}
