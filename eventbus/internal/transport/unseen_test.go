package transport_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/transport"
)

func TestUnseen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var kept transport.Unseen
		dropped := transport.Unseen{Dropped: true}
		early := time.Now()
		<-time.After(time.Second)
		died := time.Now()
		kept.Died(dlq.Letter{})
		dropped.Died(dlq.Letter{})
		for _, c := range []struct {
			name   string
			of     *transport.Unseen
			before time.Time
			dead   int64
			at     time.Time
		}{
			{"kept", &kept, early, 12, died},
			{"dropped", &dropped, early, 10, died},
			{"a later error stays", &kept, died.Add(time.Second), 12, died.Add(time.Second)},
		} {
			s := eventbus.Stats{EventsConsumed: 100, EventsProcessedFailed: 20, MessagesSentToDLQ: 10, LastErrorAt: c.before}
			c.of.AddTo(&s, 2, 3)
			if s.EventsConsumed != 102 || s.EventsProcessedFailed != 22 || s.EventsHandedBack != 3 || s.MessagesSentToDLQ != c.dead {
				t.Errorf("%s: %+v", c.name, s)
			}
			if !s.LastErrorAt.Equal(c.at) {
				t.Errorf("%s: last error at %v, want %v", c.name, s.LastErrorAt, c.at)
			}
		}
		kept.Reset()
		s := eventbus.Stats{LastErrorAt: early}
		if kept.AddTo(&s, 0, 0); !s.LastErrorAt.Equal(early) {
			t.Errorf("after Reset: last error at %v, want %v", s.LastErrorAt, early)
		}
	})
}

func TestUnseen_TellsOfLettersUnlessTheyAreDropped(t *testing.T) {
	t.Parallel()
	for _, dropped := range []bool{false, true} {
		u := transport.Unseen{Dropped: dropped}
		u.Died(dlq.Letter{MessageID: "before anybody asked"})
		var told []string
		u.TellTo(func(l dlq.Letter) { told = append(told, l.MessageID) })
		u.Died(dlq.Letter{MessageID: "m1"})
		if want := !dropped; want != slices.Equal(told, []string{"m1"}) || !want && told != nil {
			t.Errorf("dropped %t: told of %v", dropped, told)
		}
	}
}
