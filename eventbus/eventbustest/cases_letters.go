package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

func letterCases() []Case {
	return []Case{
		{
			Name: "LettersAreListedWhole", Need: []Feature{Letters}, run: lettersListed,
			Why: "listing yields every letter once, in order, in pages or at one go, by two listers at once, and consumes nothing",
		},
		{
			Name: "LettersAreFiltered", Need: []Feature{Letters}, run: lettersFiltered,
			Why: "letters can be listed by handler, event type, group, key, reason and time",
		},
		{
			Name: "LettersAreCountedAndRemoved", Need: []Feature{Letters}, run: lettersRemoved,
			Why: "the count is exact, Get finds by id, an unknown id is ErrNotFound, Delete and Purge say how many went",
		},
		{
			Name: "DisabledLettersSaySo", Laws: []int{2}, run: lettersDisabled,
			Why: "without a dead letter queue an exhausted event is logged as an error with its id, counted and acknowledged, and every verb on letters says so",
		},
	}
}

// graveyard opens a bus whose handlers bury everything, and buries so many
// events of some keys.
func (s *session) graveyard(total int) (n *node, events []eventbus.Event) {
	s.Helper()
	n = s.start()
	n.on("refusing", func(context.Context, placed) error { return middleware.Permanent(errPlanned) })
	for i := range total {
		events = append(events, place(fmt.Sprintf("k%d", i%7), i))
	}
	for batch := range slices.Chunk(events, 50) {
		n.publish(batch...)
	}
	n.consumed(int64(total))
	return n, events
}

// listed returns the message ids that a query yields.
func listed(letters []dlq.Letter) []string {
	out := make([]string, len(letters))
	for i, l := range letters {
		out[i] = l.MessageID
	}
	return out
}

func lettersListed(s *session) {
	empty := s.open(func(o *Options) { o.Topic += "-empty" })
	if l := empty.letters(dlq.Query{}); len(l) != 0 {
		s.Errorf("%d letters in a queue that nobody used", len(l))
	}
	total := s.scaled(1000)
	n, events := s.graveyard(total)
	all := n.letters(dlq.Query{})
	want := ids(events)
	got := listed(all)
	if !s.has(Order) || !s.has(OneStream) {
		slices.Sort(want)
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		s.Fatalf("listed %d letters, want %d in the order of burial:\n got %v\nwant %v", len(all), total, list(got), list(want))
	}
	order := listed(all)
	same := func(what string, got []dlq.Letter, want []string) {
		s.Helper()
		if !slices.Equal(listed(got), want) {
			s.Errorf("%s: %d letters %v, want %d: %v", what, len(got), list(listed(got)), len(want), list(want))
		}
	}
	same("listed again", n.letters(dlq.Query{}), order)

	var paged []dlq.Letter
	page := max(total/5, 1)
	for after := ""; ; {
		p := n.letters(dlq.Query{After: after, Limit: page})
		if len(p) == 0 {
			break
		}
		if len(p) > page || len(paged) > total {
			s.Fatalf("a page of %d letters, after %d others; want at most %d of %d", len(p), len(paged), page, total)
		}
		paged = append(paged, p...)
		after = p[len(p)-1].ID
	}
	same("in pages", paged, order)

	backwards := slices.Clone(order)
	slices.Reverse(backwards)
	newest := n.letters(dlq.Query{NewestFirst: true, Limit: page})
	same("newest first", newest, backwards[:page])
	same("newest first, the next page", n.letters(dlq.Query{NewestFirst: true, Limit: 3, After: newest[page-1].ID}), backwards[page:min(page+3, total)])

	lists := make(chan []dlq.Letter, 2)
	for range 2 {
		go func() {
			var l []dlq.Letter
			for letter, err := range n.Bus.DeadLetters().List(s.ctx(), dlq.Query{}) {
				if err != nil {
					s.Errorf("one of two listers: %v", err)
					break
				}
				l = append(l, letter)
			}
			lists <- l
		}()
	}
	for range 2 {
		same("two listers at once", wait(s, lists, "both listers are done"), order)
	}
	if count, err := n.Bus.DeadLetters().Count(s.ctx()); err != nil || count != int64(total) {
		s.Errorf("Count = %d, %v; want %d", count, err, total)
	}
}

func lettersFiltered(s *session) {
	n := s.start()
	n.on("typed", func(_ context.Context, e placed) error {
		if e.N == 0 {
			return nil
		}
		return middleware.Permanent(errPlanned)
	})
	if _, err := n.Bus.SubscribeToAllEvents("wild", eventbus.HandlerFunc(func(context.Context, eventbus.Event) error { return errPlanned })); err != nil {
		s.Fatal(err)
	}
	both, wild, other := place("a", 1), place("b", 0), ship("a", 1)
	n.publish(both)
	n.consumed(1)
	first := n.letters(dlq.Query{})
	n.publish(wild)
	n.publish(other)
	n.consumed(3)
	if len(first) != 1 {
		s.Fatalf("%d letters, want 1", len(first))
	}
	at := first[0].BuriedAt.Add(time.Microsecond)
	for what, c := range map[string]struct {
		filter dlq.Filter
		want   []eventbus.Event
	}{
		"none":                 {dlq.Filter{}, []eventbus.Event{both, wild, other}},
		"handler typed":        {dlq.Filter{Handler: "typed"}, []eventbus.Event{both}},
		"handler wild":         {dlq.Filter{Handler: "wild"}, []eventbus.Event{both, wild, other}},
		"handler nobody":       {dlq.Filter{Handler: "nobody"}, nil},
		"type shipped":         {dlq.Filter{EventType: shippedName}, []eventbus.Event{other}},
		"key a":                {dlq.Filter{Key: "a"}, []eventbus.Event{both, other}},
		"key a, type placed":   {dlq.Filter{Key: "a", EventType: placedName}, []eventbus.Event{both}},
		"this group":           {dlq.Filter{Group: s.group}, []eventbus.Event{both, wild, other}},
		"another group":        {dlq.Filter{Group: "another"}, nil},
		"reason max retries":   {dlq.Filter{Reason: dlq.ReasonMaxRetries, Handler: "wild", Key: "b"}, []eventbus.Event{wild}},
		"reason undecodable":   {dlq.Filter{Reason: dlq.ReasonUndecodable}, nil},
		"since the second one": {dlq.Filter{Since: at}, []eventbus.Event{wild, other}},
		"until the second one": {dlq.Filter{Until: at}, []eventbus.Event{both}},
	} {
		got, want := listed(n.letters(dlq.Query{Filter: c.filter})), ids(c.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			s.Errorf("filter %s: %d letters %v, want %d: %v", what, len(got), got, len(want), want)
		}
	}
	if l := n.letters(dlq.Query{Limit: 1, NewestFirst: true, Filter: dlq.Filter{Key: "a"}}); len(l) != 1 {
		s.Errorf("the newest of a key: %d letters, want 1", len(l))
	}
}

func lettersRemoved(s *session) {
	const total = 12
	n, _ := s.graveyard(total)
	ctx, q := s.ctx(), n.Bus.DeadLetters()
	count := func(want int64) {
		s.Helper()
		if got, err := q.Count(ctx); err != nil || got != want {
			s.Errorf("Count = %d, %v; want %d", got, err, want)
		}
	}
	count(total)
	all := n.letters(dlq.Query{})
	if len(all) != total {
		s.Fatalf("%d letters, want %d", len(all), total)
	}
	got, err := q.Get(ctx, all[7].ID)
	if err != nil || got.MessageID != all[7].MessageID || string(got.Payload) != string(all[7].Payload) {
		s.Errorf("Get(%q) = letter of %s, %v; want that of %s", all[7].ID, got.MessageID, err, all[7].MessageID)
	}
	for _, id := range []string{"", "no-such-letter", "999999999", "0-0", all[0].ID + "x"} {
		if l, err := q.Get(ctx, id); !errors.Is(err, dlq.ErrNotFound) {
			s.Errorf("Get(%q) = letter of %q, %v; want ErrNotFound", id, l.MessageID, err)
		}
		if err := q.Replay(ctx, id); !errors.Is(err, dlq.ErrNotFound) {
			s.Errorf("Replay(%q): %v, want ErrNotFound", id, err)
		}
	}
	if removed, err := q.Delete(ctx, all[2].ID, "no-such-letter", all[9].ID); err != nil || removed != 2 {
		s.Errorf("Delete of two letters and an unknown one = %d, %v; want 2", removed, err)
	}
	if removed, err := q.Delete(ctx, all[2].ID); err != nil || removed != 0 {
		s.Errorf("Delete of a letter that is gone = %d, %v; want 0", removed, err)
	}
	count(total - 2)
	left := slices.Concat(all[:2], all[3:9], all[10:])
	if got := listed(n.letters(dlq.Query{})); !slices.Equal(got, listed(left)) {
		s.Errorf("after two deletions: %v, want %v", list(got), list(listed(left)))
	}
	if purged, err := q.Purge(ctx); err != nil || purged != total-2 {
		s.Errorf("Purge = %d, %v; want %d", purged, err, total-2)
	}
	if purged, err := q.Purge(ctx); err != nil || purged != 0 {
		s.Errorf("Purge of an empty queue = %d, %v; want 0", purged, err)
	}
	count(0)
	n.publish(place("k0", 100))
	n.consumed(total + 1)
	count(1)
}

func lettersDisabled(s *session) {
	n := s.start(func(o *Options) { o.DisableDLQ = true })
	got := n.recordWith("reader", func(_ context.Context, e eventbus.Event) error {
		if p, ok := e.(*placed); ok && p.N == 1 {
			return errPlanned
		}
		return nil
	})
	bad, good := place("k", 1), place("k", 2)
	n.publish(bad, good)
	got.WaitFor(s, good)
	n.consumed(2)
	if stats := n.Bus.Stats(); stats.EventsProcessedFailed != 1 || stats.EventsProcessedSuccess != 1 || stats.MessagesSentToDLQ != 0 || got.Count(bad) != 3 {
		s.Errorf("%d attempts, stats %+v; want 3, 1 failed, 1 success, no letter", got.Count(bad), stats)
	}
	if errs := s.logs.find(slog.LevelError, bad.EventID); len(errs) == 0 {
		s.Error("no error in the log names the event that was dropped")
	}
	ctx, q := s.ctx(), n.Bus.DeadLetters()
	var list error
	for _, err := range q.List(ctx, dlq.Query{}) {
		list = err
	}
	_, count := q.Count(ctx)
	_, get := q.Get(ctx, "1")
	_, remove := q.Delete(ctx, "1")
	_, purge := q.Purge(ctx)
	_, every := q.ReplayAll(ctx, dlq.Query{})
	for verb, err := range map[string]error{
		"List": list, "Count": count, "Get": get, "Delete": remove, "Purge": purge, "Replay": q.Replay(ctx, "1"), "ReplayAll": every,
	} {
		if !errors.Is(err, dlq.ErrUnavailable) {
			s.Errorf("%s: %v, want ErrUnavailable: nobody may take this for an empty queue", verb, err)
		}
	}
}
