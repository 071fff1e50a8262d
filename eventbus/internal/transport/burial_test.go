package transport_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/middleware"
)

// grave fails as often as it is told, and keeps when it was asked.
type grave struct {
	fail    int
	hang    bool // until the context of the attempt ends
	asked   []time.Time
	letters []dlq.Letter
}

func (g *grave) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	g.asked = append(g.asked, time.Now())
	if g.hang {
		<-ctx.Done()
		return "", ctx.Err()
	}
	if g.fail > 0 {
		g.fail--
		return "", errors.New("full")
	}
	g.letters = append(g.letters, l)
	return "grave-1", nil
}

func poison() dlq.Letter {
	m := message.NewMessage("m1", message.Payload("{}"))
	d := &middleware.Delivery{Count: 6, Key: "k", Topic: "orders", ID: "1-1"}
	return transport.OverLimit("mybus", m, d, "billing", 5)
}

func TestOverLimit(t *testing.T) {
	t.Parallel()
	l := poison()
	if l.MessageID != "m1" || l.Key != "k" || l.Group != "billing" || l.Source.Topic != "orders" || l.Source.ID != "1-1" {
		t.Errorf("letter %+v", l)
	}
	if l.Reason != dlq.ReasonDeliveryLimit || l.ErrorType != "mybus.DeliveryLimit" || l.Attempts != 5 {
		t.Errorf("reason %q, error type %q, %d attempts", l.Reason, l.ErrorType, l.Attempts)
	}
	if want := "delivered 5 times without being finished, at most 5 are allowed"; l.ErrorMessage != want {
		t.Errorf("error %q, want %q", l.ErrorMessage, want)
	}
}

// A burial is tried until it is confirmed; then it is counted, and told.
func TestBurial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logbook
		var count atomic.Int64
		var told []dlq.Letter
		g := &grave{fail: 2}
		b := transport.Burial{To: g, Buried: &count, Log: book.logger(), Why: "given up", OnDead: func(l dlq.Letter) {
			if got := count.Load(); got != 1 {
				t.Errorf("told before it is counted: %d", got)
			}
			told = append(told, l)
		}}
		began := time.Now()
		if !b.Bury(t.Context(), t.Context(), poison()) {
			t.Fatal("not buried")
		}
		if got := time.Since(began); got != 60*time.Millisecond {
			t.Errorf("two pauses took %v, want 20ms + 40ms", got)
		}
		if len(told) != 1 || told[0].ID != "grave-1" || !told[0].BuriedAt.Equal(began.Add(60*time.Millisecond)) {
			t.Errorf("told %+v", told)
		}
		want := []string{
			`level=ERROR msg="burial failed, trying again" event_id=m1 event_type="" error=full`,
			`level=ERROR msg="burial failed, trying again" event_id=m1 event_type="" error=full`,
			`level=ERROR msg="given up" event_id=m1 event_type="" deliveries=5`,
		}
		if got := book.all(); !slices.Equal(got, want) {
			t.Errorf("log:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// The end of retry ends the trying, not an attempt; the end of live does that.
func TestBurial_ends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logbook
		var count atomic.Int64
		bury := func(live, retry context.Context, g *grave) bool {
			return transport.Burial{To: g, Buried: &count, Log: book.logger(), Why: "given up"}.Bury(live, retry, poison())
		}
		over, end := context.WithCancel(t.Context())
		end()
		if !bury(t.Context(), over, &grave{}) {
			t.Error("one attempt succeeds though no second is allowed")
		}
		g := &grave{fail: 1}
		if bury(t.Context(), over, g) || len(g.asked) != 1 {
			t.Errorf("%d attempts, want 1, without success", len(g.asked))
		}
		g = &grave{hang: true}
		began := time.Now()
		if bury(t.Context(), over, g) || time.Since(began) != middleware.DefaultBuryTimeout {
			t.Errorf("an attempt ended after %v, want %v", time.Since(began), middleware.DefaultBuryTimeout)
		}
		live, kill := context.WithTimeout(t.Context(), time.Second)
		defer kill()
		began = time.Now()
		if bury(live, over, g) || time.Since(began) != time.Second {
			t.Errorf("an attempt ended %v after the start, live ended after 1s", time.Since(began))
		}
		if got := count.Load(); got != 1 {
			t.Errorf("%d are counted, want 1", got)
		}
	})
}

func TestDrop(t *testing.T) {
	t.Parallel()
	if _, err := (transport.Drop{}).Bury(t.Context(), poison()); err != nil {
		t.Errorf("without a log: %v", err)
	}
	var book logbook
	id, err := transport.Drop{Log: book.logger()}.Bury(t.Context(), poison())
	if id != "" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
	want := `level=ERROR msg="event dropped, dead letters are disabled" event_id=m1 event_type="" topic=orders group=billing ` +
		`error="delivery_limit_exceeded: delivered 5 times without being finished, at most 5 are allowed"`
	if got := book.all(); len(got) != 1 || got[0] != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

// panicking is a store whose first attempt panics.
type panicking struct{ grave }

func (p *panicking) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	if len(p.asked) == 0 {
		p.asked = append(p.asked, time.Now())
		panic("store")
	}
	return p.grave.Bury(ctx, l)
}

// Neither a store nor a hook that panics ends the process, or keeps a message
// that is buried from being acknowledged.
func TestBurial_PanicsAreSurvived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logbook
		var count atomic.Int64
		g := &panicking{}
		b := transport.Burial{To: g, Buried: &count, Log: book.logger(), Why: "given up", OnDead: func(dlq.Letter) { panic("hook") }}
		if !b.Bury(t.Context(), t.Context(), poison()) || len(g.letters) != 1 || count.Load() != 1 {
			t.Fatalf("%d letters, %d counted, want 1 of each", len(g.letters), count.Load())
		}
		want := []string{
			`level=ERROR msg="burial failed, trying again" event_id=m1 event_type="" error="the store panicked: store"`,
			`level=ERROR msg="given up" event_id=m1 event_type="" deliveries=5`,
			`level=ERROR msg="hook panicked" event_id=m1 event_type="" hook=OnDead error=hook`,
		}
		if got := book.all(); !slices.Equal(got, want) {
			t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// brittle ends the goroutine that it is called on, once.
type brittle struct {
	grave
	calls int
}

func (g *brittle) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	if g.calls++; g.calls == 1 {
		runtime.Goexit()
	}
	return g.grave.Bury(ctx, l)
}

func TestBury_AStoreAndAHookThatEndTheirGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &brittle{}
		var n atomic.Int64
		b := transport.Burial{To: g, Buried: &n, Log: discard, OnDead: func(dlq.Letter) { runtime.Goexit() }}
		if !b.Bury(t.Context(), t.Context(), poison()) || g.calls != 2 || len(g.letters) != 1 || n.Load() != 1 {
			t.Errorf("%d calls, %d letters, %d counted, want 2, 1, 1", g.calls, len(g.letters), n.Load())
		}
	})
}
