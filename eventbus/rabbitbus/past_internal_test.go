package rabbitbus

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

func finishedEntry(id, body string) *entry {
	m := message.NewMessage(id, []byte(body))
	m.Metadata = message.Metadata{"event_type": "Tested", "tenant_id": "t"}
	return &entry{msg: m, known: identify(m)}
}

// A finished message is known by all that is in it, once, and for a while.
func TestPast_TakesNoOtherMessageForAFinishedOne(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(e *entry)
		wait   time.Duration
		want   bool
	}{
		"the same":           {func(*entry) {}, keepPast - 1, true},
		"another payload":    {func(e *entry) { e.msg.Payload = []byte("b") }, 0, false},
		"another metadata":   {func(e *entry) { e.msg.Metadata["tenant_id"] = "u" }, 0, false},
		"metadata exchanged": {func(e *entry) { e.msg.Metadata["tenant_id"], e.msg.Metadata["event_type"] = "Tested", "t" }, 0, false},
		"a while later":      {func(*entry) {}, keepPast, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPast(10)
				p.lose(nil, []finishedAt{{finishedEntry("x", "a").known, time.Now()}})
				time.Sleep(time.Hour) //nolint:forbidigo // the clock of synctest: the broker is away
				p.begin()
				time.Sleep(tc.wait) //nolint:forbidigo // the clock of synctest
				e := finishedEntry("x", "a")
				tc.change(e)
				e.known = identify(e.msg)
				if got := p.finished(e); got != tc.want {
					t.Errorf("finished %v, want %v", got, tc.want)
				}
				if p.finished(finishedEntry("x", "a")) && tc.want {
					t.Error("it is known twice")
				}
			})
		})
	}
}

// What was acknowledged long before the loss was read by the broker; what was
// not asked for in one session is not known in the next.
func TestPast_ForgetsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPast(10)
		old := finishedAt{finishedEntry("old", "a").known, time.Now()}
		time.Sleep(keepPast) //nolint:forbidigo // the clock of synctest
		p.lose(nil, []finishedAt{old, {finishedEntry("new", "a").known, time.Now()}})
		p.begin()
		if p.finished(finishedEntry("old", "a")) {
			t.Error("an ack of a minute before the loss counts as lost")
		}
		time.Sleep(keepPast) //nolint:forbidigo // the clock of synctest
		p.lose(nil, nil)
		p.begin()
		if p.finished(finishedEntry("new", "a")) {
			t.Error("it is known in the session after the next one")
		}
	})
}

// Of more losses than there is room for, those are remembered that were lost again.
func TestPast_ForgivesWhatIsLostAgainAndAgain(t *testing.T) {
	p := newPast(8)
	e := finishedEntry("waits", "a")
	for n := range 20 {
		p.lose([]*entry{e, finishedEntry(fmt.Sprint("other", n), "a")}, nil)
		if got := p.forgiven(e); got != n+1 {
			t.Fatalf("%d forgiven, want %d", got, n+1)
		}
	}
	if len(p.lost) > 8 {
		t.Errorf("%d remembered, want 8 at most", len(p.lost))
	}
}

// Of more finished ones than there is room for, the latest are remembered.
func TestPast_RemembersTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPast(8)
		p.begin()
		for n := range 30 {
			time.Sleep(time.Millisecond) //nolint:forbidigo // the clock of synctest
			p.finish(finishedEntry(fmt.Sprint(n), "a"))
		}
		for n := range 6 {
			if id := fmt.Sprint(29 - n); !p.finished(finishedEntry(id, "a")) {
				t.Errorf("%s is forgotten", id)
			}
		}
		if p.finished(finishedEntry("20", "a")) {
			t.Error("20 is remembered, want 8 at most")
		}
	})
}
