package middleware

import (
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Stats counts what passes through it: each message once where it is outermost,
// each attempt where it is inside [Retry]. The zero value is ready; it must not
// be copied after first use. All methods may be called from many goroutines.
type Stats struct {
	handled, succeeded, failed, discarded, returned, inFlight, busy atomic.Int64
	lastSuccess, lastFailure                                        atomic.Int64
}

// StatsSnapshot is what a [Stats] had counted at one moment. Handled is the sum
// of the four outcomes whenever nothing is being handled.
type StatsSnapshot struct {
	Handled    int64         // ended, in whatever way
	Succeeded  int64         // with nil
	Failed     int64         // with an error that is none of the other two, or a panic
	Discarded  int64         // with Discard
	HandedBack int64         // with ErrHandedBack
	InFlight   int64         // now
	Busy       time.Duration // sum of the time that they took

	LastSuccessAt time.Time // zero: never
	LastFailureAt time.Time // zero: never
}

// Middleware is the [message.HandlerMiddleware]. One Stats may be used in
// several places; it then counts for all of them together.
func (s *Stats) Middleware(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (produced []*message.Message, err error) {
		s.inFlight.Add(1)
		began := time.Now()
		ended := false
		defer func() { s.count(began, err, ended) }() // deferred for the sake of panics
		produced, err = h(msg)
		ended = true
		return produced, err
	}
}

func (s *Stats) count(began time.Time, err error, ended bool) {
	now := time.Now()
	s.busy.Add(int64(now.Sub(began)))
	switch {
	case !ended:
		s.failed.Add(1)
		s.lastFailure.Store(now.UnixNano())
	case err == nil:
		s.succeeded.Add(1)
		s.lastSuccess.Store(now.UnixNano())
	default:
		switch classify(err) {
		case discarded:
			s.discarded.Add(1)
		case handedBack:
			s.returned.Add(1)
		case again, final, undecodable:
			s.failed.Add(1)
			s.lastFailure.Store(now.UnixNano())
		}
	}
	s.handled.Add(1)
	s.inFlight.Add(-1)
}

// Snapshot returns the numbers as they are now. They are read one by one: while
// messages are being handled they may differ by those.
func (s *Stats) Snapshot() StatsSnapshot {
	at := func(v *atomic.Int64) time.Time {
		if n := v.Load(); n != 0 {
			return time.Unix(0, n).UTC()
		}
		return time.Time{}
	}
	return StatsSnapshot{
		Handled: s.handled.Load(), Succeeded: s.succeeded.Load(), Failed: s.failed.Load(),
		Discarded: s.discarded.Load(), HandedBack: s.returned.Load(), InFlight: s.inFlight.Load(),
		Busy: time.Duration(s.busy.Load()), LastSuccessAt: at(&s.lastSuccess), LastFailureAt: at(&s.lastFailure),
	}
}
