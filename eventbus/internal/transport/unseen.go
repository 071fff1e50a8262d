package transport

import (
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

// Unseen are the events that only the transport sees: they never reach a
// handler, because they were delivered too often, or because a shutdown came.
// The zero value has seen none; it may be used from many goroutines and must not
// be copied.
type Unseen struct {
	Dropped bool // there are no dead letters: what would be one is lost

	last atomic.Int64
	tell atomic.Pointer[func(dlq.Letter)]
}

// Died notes that an event was given up now. It serves as OnDead.
func (u *Unseen) Died(l dlq.Letter) {
	u.last.Store(time.Now().UnixNano())
	if tell := u.tell.Load(); tell != nil && !u.Dropped {
		(*tell)(l)
	}
}

// TellTo names who is told of the letters from now on.
func (u *Unseen) TellTo(tell func(dlq.Letter)) { u.tell.Store(&tell) }

// Reset forgets when the last one was.
func (u *Unseen) Reset() { u.last.Store(0) }

// AddTo adds to the bus's counts those of its transport.
func (u *Unseen) AddTo(s *eventbus.Stats, buried, handedBack int64) {
	s.EventsHandedBack = handedBack
	s.EventsProcessedFailed += buried
	s.EventsConsumed += buried
	if !u.Dropped {
		s.MessagesSentToDLQ += buried
	}
	if at := u.last.Load(); at > 0 && time.Unix(0, at).After(s.LastErrorAt) {
		s.LastErrorAt = time.Unix(0, at)
	}
}
