package rabbitbus

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// keepPast is how long it is known that a message was finished: since it was
// acknowledged until its channel is lost, and since the loss, or the consumer
// that came after it, until its redelivery. Later it is handled again.
const keepPast = time.Minute

// past is what a subscription knows of messages whose channel was lost: those
// that were finished all the same, so that their redelivery is acknowledged
// without a handler, those whose acknowledgement was lost among them; and how
// often the others were lost here, which is no crash of theirs although the
// broker counts it. It knows them by all that is in them: a producer may use an
// id twice, and what is taken for finished wrongly is lost.
type past struct {
	limit int

	mu    sync.Mutex
	began time.Time // of the last session
	done  map[identity]time.Time
	lost  map[identity]int
}

// identity tells a message from others: by its id, by the replay, which is meant
// for other handlers, and by a sum over its payload and metadata.
type identity struct {
	uuid, replays, handlers string
	sum                     uint64
}

// finishedAt is when a message was acknowledged.
type finishedAt struct {
	identity
	at time.Time
}

// seed is one for the process, as sums of two places are compared.
var seed = maphash.MakeSeed()

// identify wants the message as it came: handlers may change it.
func identify(m *message.Message) identity {
	return identity{m.UUID, m.Metadata[wire.ReplayCount], m.Metadata[wire.ReplayHandlers], sum(m)}
}

// sum does not depend on the order of the metadata, nor on what the broker
// counts: a redelivery has another count.
func sum(m *message.Message) uint64 {
	total := maphash.Bytes(seed, m.Payload)
	for k, v := range m.Metadata {
		if brokersOwn(k) {
			continue
		}
		total += maphash.String(seed, k) * (maphash.String(seed, v) | 1)
	}
	return total
}

func newPast(limit int) past {
	return past{limit: limit, done: make(map[identity]time.Time), lost: make(map[identity]int)}
}

// begin notes that deliveries of a new session begin.
func (p *past) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Now()
}

// lose notes entries of a lost channel.
func (p *past) lose(left []*entry, recent []finishedAt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(p.done, func(_ identity, since time.Time) bool { return !p.fresh(since) })
	p.keepLost(left)
	for _, f := range recent {
		if f.uuid != "" && now.Sub(f.at) < keepPast {
			p.keepDone(f.identity, now)
		}
	}
	for _, e := range left {
		switch {
		case e.known.uuid == "":
		case e.settled:
			p.keepDone(e.known, now)
		default:
			p.lost[e.known]++
		}
	}
}

// finish notes an entry that was handled after its channel was lost.
func (p *past) finish(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.known.uuid != "" {
		p.keepDone(e.known, time.Now())
	}
}

func (p *past) keepDone(id identity, now time.Time) {
	if _, known := p.done[id]; !known && len(p.done) >= p.limit {
		p.forget(len(p.done) / 4)
	}
	p.done[id] = now
	delete(p.lost, id)
}

// keepLost makes room for entries of a lost channel: the others were handled, or
// somebody else has got them, mostly.
func (p *past) keepLost(left []*entry) {
	if len(p.lost)+len(left) <= p.limit {
		return
	}
	kept := make(map[identity]int, len(left))
	for _, e := range left {
		if n := p.lost[e.known]; n > 0 {
			kept[e.known] = n
		}
	}
	p.lost = kept
}

// forget forgets the n that are known longest.
func (p *past) forget(n int) {
	ids := slices.SortedFunc(maps.Keys(p.done), func(a, b identity) int { return p.done[a].Compare(p.done[b]) })
	for _, id := range ids[:n] {
		delete(p.done, id)
	}
}

// finished reports, once, whether the message of a redelivery was finished.
func (p *past) finished(e *entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.done) == 0 {
		return false
	}
	since, ok := p.done[e.known]
	delete(p.done, e.known)
	return ok && p.fresh(since)
}

// fresh is called with mu held.
func (p *past) fresh(since time.Time) bool {
	if since.Before(p.began) {
		since = p.began // its redelivery could not come earlier
	}
	return time.Since(since) < keepPast
}

// forgiven returns how many deliveries of the message were lost here.
func (p *past) forgiven(e *entry) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lost) == 0 {
		return 0
	}
	return p.lost[e.known]
}
