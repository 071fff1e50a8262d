package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/internal/bustest"
)

// broker passes messages on at once, but for what it does to those of key 3.
type broker struct {
	out    chan *message.Message
	defect func(b *broker, id string, send func(id string)) error
}

func (b *broker) PublishBatch(_ context.Context, topic string, msgs []*message.Message) []error {
	send := func(id string) {
		m := bustest.Message(id, "")
		b.out <- m
		<-m.Acked() // one after the other, so that the order is the broker's
	}
	id, key := msgs[0].UUID, msgs[0].Metadata["aggregate_id"]
	if topic != "t" || !strings.HasPrefix(id, key+"/") {
		return []error{fmt.Errorf("%s of topic %q and key %q", id, topic, key)}
	}
	if b.defect != nil && strings.HasPrefix(id, "3/") {
		if err := b.defect(b, id, send); err != nil {
			return []error{err}
		}
		return nil
	}
	send(id)
	return nil
}

// observed runs an oracle on a broker for a while, and returns what it says.
func observed(t *testing.T, late bool, defect func(b *broker, id string, send func(id string)) error, excused ...string) (said []string, repeated int) {
	t.Helper()
	b := &broker{out: make(chan *message.Message), defect: defect}
	said = complaints(t, func(f *failing) {
		o := &bustest.Oracle{T: f, Patience: patience, Topic: "t", Publisher: b, Message: bustest.Message, Pause: time.Millisecond, Late: late}
		o.Consume(b.out)
		o.Start()
		o.Progress(100)
		for _, id := range excused {
			o.Excuse(map[string]bool{id: true})
		}
		o.Progress(200)
		o.Stop()
		close(b.out)
		repeated = o.Judge()
	})
	return said, repeated
}

var errRefused = errors.New("refused")

func TestOracle(t *testing.T) {
	t.Parallel()
	skip := func(b *broker, id string, send func(string)) error {
		if id != "3/4" {
			send(id)
		}
		return nil
	}
	// 3/5 comes after 3/6, and what is told of it is given.
	late := func(told error) func(*broker, string, func(string)) error {
		return func(_ *broker, id string, send func(string)) error {
			if id == "3/5" {
				return told
			}
			send(id)
			if id == "3/6" {
				send("3/5")
			}
			return nil
		}
	}
	maybe := fmt.Errorf("time ran out: %w", eventbus.ErrUnknown)
	for _, c := range []struct {
		name     string
		defect   func(b *broker, id string, send func(string)) error
		late     bool
		excused  []string
		want     string // nothing when empty
		repeated int
	}{
		{name: "sound"},
		{name: "lost", defect: skip, want: `^1 confirmed events of \d+ were never handled: \[3/4\]$`},
		{name: "lost, and another is excused", defect: skip, excused: []string{"3/3"}, want: `^1 confirmed events`},
		{name: "lost and excused", defect: skip, excused: []string{"3/4"}},
		{name: "unknown and not published", defect: func(_ *broker, id string, send func(string)) error {
			if id == "3/4" {
				return maybe
			}
			send(id)
			return nil
		}},
		{name: "refused, and published", defect: func(_ *broker, id string, send func(string)) error {
			if id == "3/5" {
				send("3/4")
			}
			if id == "3/4" {
				return errRefused
			}
			send(id)
			return nil
		}, want: `never published: 3/4: refused`},
		{name: "invented", defect: func(_ *broker, id string, send func(string)) error {
			send(id)
			if id == "3/4" {
				send("3/4000000")
			}
			return nil
		}, want: `never published: 3/4000000`},
		{name: "no number", defect: func(_ *broker, id string, send func(string)) error {
			send(id)
			if id == "3/4" {
				send("x")
			}
			return nil
		}, want: `never published: x`},
		{name: "repeated", repeated: 2, defect: func(_ *broker, id string, send func(string)) error {
			send(id)
			if id == "3/4" {
				send("3/1")
				send("3/2")
				send("3/2")
			}
			return nil
		}},
		{name: "confirmed and late", defect: late(nil), want: `^1 out of order or invented: \[3/5 first came after 3/6\]$`},
		{name: "confirmed and late where that is allowed to others", defect: late(nil), late: true, want: `^1 out of order`},
		{name: "unknown and late", defect: late(maybe), want: `^1 out of order or invented: \[3/5 first came after 3/6\]$`},
		{name: "unknown and late where that is allowed", defect: late(maybe), late: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				said, repeated := observed(t, c.late, c.defect, c.excused...)
				if c.want == "" && len(said) > 0 || c.want != "" && (len(said) != 1 || !regexp.MustCompile(c.want).MatchString(said[0])) || repeated != c.repeated {
					t.Errorf("says %q and %d repeated, want %q and %d", said, repeated, c.want, c.repeated)
				}
			})
		})
	}
}

func TestOracle_TellsWhatItKnows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		maybe := fmt.Errorf("time ran out: %w", eventbus.ErrUnknown)
		handling := 0
		b := &broker{out: make(chan *message.Message), defect: func(_ *broker, id string, send func(string)) error {
			switch id {
			case "3/1":
				return errRefused
			case "3/2":
				return maybe
			case "3/3":
				return nil // lost
			}
			send(id)
			return nil
		}}
		said := complaints(t, func(f *failing) {
			o := &bustest.Oracle{
				T: f, Patience: patience, Topic: "t", Publisher: b, Message: bustest.Message, Pause: time.Second,
				Before: func() { handling++ },
			}
			// One handler at a time, so that it can count.
			in := make(chan *message.Message)
			o.Consume(in)
			go func() {
				for m := range b.out {
					in <- m
					<-m.Acked()
				}
				close(in)
			}()
			o.Start()
			<-time.After(3500 * time.Millisecond) // four rounds of sixteen keys
			o.Stop()
			close(b.out)
			for what, got := range map[string]map[string]bool{"[3/1]": o.Refused(), "[3/3]": o.Lost()} {
				if ids := fmt.Sprint(slices.Collect(maps.Keys(got))); ids != what {
					t.Errorf("got %s, want %s", ids, what)
				}
			}
			if tried, confirmed := o.Tried(), o.Confirmed(); len(tried) != 4*bustest.Keys || len(confirmed) != len(tried)-2 || confirmed["3/1"] || confirmed["3/2"] || handling != len(tried)-3 {
				t.Errorf("%d tried, %d confirmed, %d handled", len(tried), len(confirmed), handling)
			}
			o.Excuse(o.Confirmed())
			o.Judge()
		})
		if len(said) > 0 {
			t.Errorf("it says %q", said)
		}
	})
}

// buffer confirms, and passes on what is consumed later.
type buffer chan *message.Message

func (b buffer) PublishBatch(_ context.Context, _ string, msgs []*message.Message) []error {
	for _, m := range msgs {
		b <- m
	}
	return nil
}

// Progress is what is confirmed, handled and not excused.
func TestOracle_Progress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		consume bool
		excused bool
		want    []string
	}{
		{"confirmed and handled", true, false, nil},
		{"not handled", false, false, []string{"not within 10s: 1 more events are confirmed and handled"}},
		{"handled and excused", true, true, []string{"not within 10s: 1 more events are confirmed and handled"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				out := make(buffer, bustest.Keys)
				said := complaints(t, func(f *failing) {
					o := &bustest.Oracle{T: f, Patience: patience, Topic: "t", Publisher: out, Message: bustest.Message, Pause: time.Hour}
					o.Start()
					defer func() { o.Stop(); close(out) }()
					synctest.Wait() // sixteen are confirmed
					if c.excused {
						o.Excuse(o.Confirmed())
					}
					if c.consume {
						time.AfterFunc(time.Second, func() { o.Consume(out) })
					}
					o.Progress(1)
				})
				if !slices.Equal(said, c.want) {
					t.Errorf("says %q, want %q", said, c.want)
				}
			})
		})
	}
}
