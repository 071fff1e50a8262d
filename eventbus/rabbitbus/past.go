package rabbitbus

import (
	"sync"

	"github.com/leat-go/leat/internal/wire"
)

// past is what a subscription knows of messages whose channel was lost: those
// that were finished all the same, so that their redelivery is acknowledged
// without a handler, those whose acknowledgement was lost among them; and how
// often the others were lost here, which is no crash of theirs although the
// broker counts it.
type past struct {
	limit int

	mu   sync.Mutex
	done map[identity]struct{}
	lost map[identity]int
}

// identity tells one delivery's message from others of the same event: a replay
// is meant for other handlers.
type identity struct{ uuid, replays, handlers string }

func identify(e *entry) identity {
	return identity{e.msg.UUID, e.msg.Metadata[wire.ReplayCount], e.msg.Metadata[wire.ReplayHandlers]}
}

func newPast(limit int) past {
	return past{limit: limit, done: make(map[identity]struct{}), lost: make(map[identity]int)}
}

// lose notes entries of a lost channel.
func (p *past) lose(left []*entry, recent []identity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range recent {
		if id.uuid != "" {
			p.keepDone(id)
		}
	}
	for _, e := range left {
		switch {
		case e.msg.UUID == "":
		case e.settled:
			p.keepDone(identify(e))
		default:
			if len(p.lost) >= p.limit {
				clear(p.lost) // others have got them, mostly
			}
			p.lost[identify(e)]++
		}
	}
}

// finish notes an entry that was handled after its channel was lost.
func (p *past) finish(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.msg.UUID != "" {
		p.keepDone(identify(e))
	}
}

func (p *past) keepDone(id identity) {
	if len(p.done) >= p.limit {
		clear(p.done)
	}
	p.done[id] = struct{}{}
	delete(p.lost, id)
}

// finished reports, once, whether the message of a redelivery was finished.
func (p *past) finished(e *entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.done) == 0 {
		return false
	}
	id := identify(e)
	_, ok := p.done[id]
	delete(p.done, id)
	return ok
}

// forgiven returns how many deliveries of the message were lost here.
func (p *past) forgiven(e *entry) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lost) == 0 {
		return 0
	}
	return p.lost[identify(e)]
}
