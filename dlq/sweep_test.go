package dlq_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
)

func TestQueue_ReplayAll(t *testing.T) {
	t.Parallel()
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	q := newQueue(t, dlq.Config{Store: s, Publisher: g, MaxReplays: 2})
	for n := range 30 { // Replays is n % 3: every third has reached the cap
		mustBury(t, s, dlqtest.Letter(n))
	}
	homeless := dlqtest.Letter(30)
	homeless.Source.Topic = ""
	homelessID := mustBury(t, s, homeless)[0]

	report, err := q.ReplayAll(t.Context(), dlq.Query{Filter: dlq.Filter{EventType: "OrderPaid"}}) // the even ones
	if err != nil || report.Replayed != 10 || report.Refused != 6 || len(report.Refusals) != 6 {
		t.Fatalf("report %+v, %v, want 10 replayed, 6 refused", report, err)
	}
	if last := report.Refusals[5]; last.ID != homelessID || !strings.Contains(last.Err.Error(), "name a topic") {
		t.Errorf("last refusal %+v, want the letter without a topic", last)
	}
	var limit *dlq.ReplayLimitError
	if !errors.As(report.Refusals[0].Err, &limit) {
		t.Errorf("first refusal %v, want the cap", report.Refusals[0].Err)
	}
	var order []string
	for _, m := range g.published("orders") {
		order = append(order, m.UUID)
	}
	want := []string{"0", "4", "6", "10", "12", "16", "18", "22", "24", "28"}
	for i := range want {
		want[i] = "message-" + want[i]
	}
	if !slices.Equal(order, want) {
		t.Errorf("published %v, want %v", order, want)
	}
	report, err = q.ReplayAll(t.Context(), dlq.Query{}, dlq.Force(), dlq.ToTopic("orders"))
	if n, _ := q.Count(t.Context()); err != nil || report.Replayed != 21 || n != 0 {
		t.Errorf("forced: %+v, %v, %d left", report, err, n)
	}
}

func TestQueue_ReplayAllStopsAtABrokenBroker(t *testing.T) {
	t.Parallel()
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	for n := range 6 {
		mustBury(t, s, dlqtest.Letter(n*3))
	}
	tries := 0
	g.fail = func(string, *message.Message) error {
		if tries++; tries > 2 {
			return errBroker
		}
		return nil
	}
	report, err := newQueue(t, dlq.Config{Store: s, Publisher: g}).ReplayAll(t.Context(), dlq.Query{})
	if !errors.Is(err, errBroker) || report.Replayed != 2 || tries != 3 {
		t.Errorf("report %+v, %v after %d tries, want 2 replayed and an end at the third", report, err, tries)
	}
	if n, _ := s.Count(t.Context()); n != 4 {
		t.Errorf("count = %d, want 4", n)
	}
}

// In memory a replay runs the handlers, which may fail again at once, or call
// for replays themselves.
func TestQueue_ReplayThatFailsAgain(t *testing.T) {
	t.Parallel()
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	q := newQueue(t, dlq.Config{Store: s, Publisher: g})
	ids := mustBury(t, s, dlqtest.Letter(0), dlqtest.Letter(3))
	var nested []error
	g.fail = func(_ string, m *message.Message) error {
		nested = append(nested, q.Replay(t.Context(), ids[0]))
		mustBury(t, s, dlq.NewLetter(m))
		return nil
	}
	report, err := q.ReplayAll(t.Context(), dlq.Query{})
	if err != nil || report.Replayed != 2 {
		t.Errorf("report %+v, %v, want 2 replayed", report, err)
	}
	if len(nested) != 2 || !errors.Is(nested[0], dlq.ErrReplaying) || !errors.Is(nested[1], dlq.ErrNotFound) {
		t.Errorf("replays from inside the replay: %v, want %v and %v", nested, dlq.ErrReplaying, dlq.ErrNotFound)
	}
	var again []int
	for l := range s.List(t.Context(), dlq.Query{}) {
		again = append(again, l.Replays)
	}
	if !slices.Equal(again, []int{1, 1}) {
		t.Errorf("letters after the replay have been replayed %v times, want once each", again)
	}
}

func TestQueue_TwoSweepsReplayEachLetterOnce(t *testing.T) {
	t.Parallel()
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	q := newQueue(t, dlq.Config{Store: s, Publisher: g, MaxReplays: dlq.Unlimited})
	const letters = 200
	for n := range letters {
		mustBury(t, s, dlqtest.Letter(n))
	}
	counts := make(chan int)
	for range 4 {
		go func() {
			report, err := q.ReplayAll(t.Context(), dlq.Query{})
			if err != nil {
				t.Error(err)
			}
			counts <- report.Replayed
		}()
	}
	if sum := <-counts + <-counts + <-counts + <-counts; sum != letters {
		t.Errorf("replayed %d in all, want %d", sum, letters)
	}
	if n := len(g.published("orders")); n != letters {
		t.Errorf("published %d, want %d", n, letters)
	}
}

// A listing is as old as its beginning: what another call has replayed since
// must not go out a second time.
func TestQueue_SweepSkipsWhatAnotherHasReplayed(t *testing.T) {
	t.Parallel()
	g := newLog()
	s := newTopic(t, g)
	q := newQueue(t, dlq.Config{Store: s, Publisher: g})
	ids := mustBury(t, s, dlqtest.Letter(0), dlqtest.Letter(3), dlqtest.Letter(6))
	var inner dlq.Report
	nested := false
	g.fail = func(topic string, _ *message.Message) error {
		if topic != "orders" || nested {
			return nil
		}
		nested = true
		var err error
		if inner, err = q.ReplayAll(t.Context(), dlq.Query{}); err != nil {
			return err
		}
		if err := q.Replay(t.Context(), ids[1]); !errors.Is(err, dlq.ErrNotFound) {
			t.Errorf("replay of a letter that is gone: %v, want %v", err, dlq.ErrNotFound)
		}
		return nil
	}
	outer, err := q.ReplayAll(t.Context(), dlq.Query{})
	if err != nil || inner.Replayed != 2 || outer.Replayed != 1 || len(g.published("orders")) != 3 {
		t.Errorf("%v; the inner call replayed %d, the outer %d, %d were published; want 2, 1, 3", err, inner.Replayed, outer.Replayed, len(g.published("orders")))
	}
	if n, err := q.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("count = %d, %v, want 0", n, err)
	}
}
