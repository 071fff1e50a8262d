package eventbustest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

func replayCases() []Case {
	return []Case{
		{
			Name: "ReplayRunsOnlyTheFailed", Laws: []int{3}, Need: []Feature{Letters}, run: replayRunsOnlyTheFailed,
			Why: "a replay runs only the handlers that failed, and the letter is gone",
		},
		{
			Name: "ReplayKeepsTheMessage", Need: []Feature{Letters}, run: replayKeepsTheMessage,
			Why: "a replayed event has its id, key, bytes and metadata; when it fails again, its letter counts the replay",
		},
		{
			Name: "ReplaysAreCapped", Need: []Feature{Letters}, run: replaysAreCapped,
			Why: "a letter that was replayed too often is refused, and goes on by force",
		},
		{
			Name: "AnyLetterCanBeReplayed", Need: []Feature{Letters}, run: anyLetterCanBeReplayed,
			Why: "a letter that is not the oldest can be replayed, and all of a filter at once; the others stay",
		},
	}
}

// letter waits for the only letter there is.
func (n *node) letter() dlq.Letter {
	n.s.Helper()
	letters := n.letters(dlq.Query{})
	if len(letters) != 1 {
		n.s.Fatalf("%d letters, want 1", len(letters))
	}
	return letters[0]
}

func (n *node) replay(id string, opts ...dlq.ReplayOption) {
	n.s.Helper()
	if err := n.Bus.DeadLetters().Replay(n.s.ctx(), id, opts...); err != nil {
		n.s.Fatalf("replay: %v", err)
	}
}

func replayRunsOnlyTheFailed(s *session) {
	n := s.start()
	mended := s.gate()
	broken := func(context.Context, eventbus.Event) error {
		select {
		case <-mended.opened:
			return nil
		default:
			return errPlanned
		}
	}
	failing, healthy, alsoFailing := n.recordWith("failing", broken), n.record("healthy"), n.recordWith("also-failing", broken)
	wildcard := n.recordAll("wildcard")
	e := place("k", 1)
	n.publish(e)
	n.consumed(1)
	l := n.letter()
	if got := slices.Sorted(slices.Values(l.Handlers)); !slices.Equal(got, []string{"also-failing", "failing"}) {
		s.Fatalf("the letter names %v, want both that failed", got)
	}
	mended.open()
	n.replay(l.ID)
	n.consumed(2)
	if failing.Len() != 4 || alsoFailing.Len() != 4 {
		s.Errorf("the failed handlers ran %d and %d times, want 3 and once more for the replay", failing.Len(), alsoFailing.Len())
	}
	if healthy.Len() != 1 || wildcard.Len() != 1 {
		s.Errorf("the healthy handlers ran %d and %d times, want once", healthy.Len(), wildcard.Len())
	}
	if left := n.letters(dlq.Query{}); len(left) != 0 {
		s.Errorf("%d letters after the replay, want none", len(left))
	}
	if err := n.Bus.DeadLetters().Replay(s.ctx(), l.ID); !errors.Is(err, dlq.ErrNotFound) {
		s.Errorf("the same replay again: %v, want ErrNotFound", err)
	}
}

func replayKeepsTheMessage(s *session) {
	n := s.start()
	got := n.recordWith("failing", func(context.Context, eventbus.Event) error { return errPlanned })
	e := s.generator().placed()
	n.publish(e)
	n.consumed(1)
	first := n.letter()
	n.replay(first.ID)
	n.consumed(2)
	second := n.letter()
	if first.Replays != 0 || second.Replays != 1 {
		s.Errorf("the letters count %d and %d replays, want 0 and 1", first.Replays, second.Replays)
	}
	if second.MessageID != e.EventID || second.Key != e.AggregateID || string(second.Payload) != string(first.Payload) {
		s.Errorf("the second letter holds message %s of key %q with %d bytes, want %s of %q with %d", second.MessageID, second.Key, len(second.Payload),
			e.EventID, e.AggregateID, len(first.Payload))
	}
	for key, value := range first.Metadata {
		if second.Metadata[key] != value {
			s.Errorf("metadata %s of the second letter is %q, want %q", key, second.Metadata[key], value)
		}
	}
	for key := range second.Metadata {
		if strings.HasPrefix(key, dlq.Prefix) {
			s.Errorf("the second letter keeps %s as metadata of the original", key)
		}
	}
	events := EventsOf[placed](got)
	if len(events) != 6 {
		s.Fatalf("%d attempts, want 3 and 3", len(events))
	}
	if fields := differences(&events[5], asReceived(e)); len(fields) > 0 {
		s.Errorf("the replayed event differs in %v:\n got %s\nwant %s", fields, spell(&events[5]), spell(asReceived(e)))
	}
}

func replaysAreCapped(s *session) {
	n := s.start(func(o *Options) { o.MaxReplays = 2 })
	got := n.recordWith("failing", func(context.Context, eventbus.Event) error { return errPlanned })
	n.publish(place("k", 1))
	for round := range 3 {
		n.consumed(int64(round + 1))
		l := n.letter()
		if l.Replays != round {
			s.Fatalf("the letter counts %d replays, want %d", l.Replays, round)
		}
		if round < 2 {
			n.replay(l.ID)
		}
	}
	l := n.letter()
	var limit *dlq.ReplayLimitError
	if err := n.Bus.DeadLetters().Replay(s.ctx(), l.ID); !errors.As(err, &limit) || limit.Replays != 2 || limit.Max != 2 {
		s.Errorf("the third replay: %v, want a *ReplayLimitError with 2 of 2", err)
	}
	if report, err := n.Bus.DeadLetters().ReplayAll(s.ctx(), dlq.Query{}); err != nil || report.Replayed != 0 || report.Refused != 1 {
		s.Errorf("ReplayAll: %+v, %v; want 1 refused", report, err)
	}
	n.letter() // is still there
	n.replay(l.ID, dlq.Force())
	n.consumed(4)
	if l := n.letter(); l.Replays != 3 || got.Len() != 12 {
		s.Errorf("after the forced replay: %d replays, %d attempts; want 3 and 12", l.Replays, got.Len())
	}
}

func anyLetterCanBeReplayed(s *session) {
	const total = 9
	n := s.start()
	mended := s.gate()
	got := n.recordWith("failing", func(context.Context, eventbus.Event) error {
		select {
		case <-mended.opened:
			return nil
		default:
			return errPlanned
		}
	})
	var events []eventbus.Event
	for i := range total {
		events = append(events, place([]string{"a", "b", "c"}[i%3], i))
	}
	n.publish(events...)
	n.consumed(total)
	letters := n.letters(dlq.Query{})
	if len(letters) != total {
		s.Fatalf("%d letters, want %d", len(letters), total)
	}
	mended.open()
	got.Reset()
	n.replay(letters[5].ID)
	n.consumed(total + 1)
	if runs := got.Events(); len(runs) != 1 || ids(runs)[0] != letters[5].MessageID {
		s.Errorf("the replay ran %v, want %s", list(describe(runs)), letters[5].MessageID)
	}
	left := slices.Delete(slices.Clone(letters), 5, 6)
	if now := listed(n.letters(dlq.Query{})); !slices.Equal(now, listed(left)) {
		s.Errorf("letters after the replay: %v, want the others in their order: %v", now, listed(left))
	}
	key := letters[5].Key
	report, err := n.Bus.DeadLetters().ReplayAll(s.ctx(), dlq.Query{Filter: dlq.Filter{Key: key}})
	if err != nil || report.Replayed != 2 || report.Refused != 0 {
		s.Errorf("ReplayAll of key %s: %+v, %v; want the 2 that are left", key, report, err)
	}
	n.consumed(total + 3)
	for _, l := range n.letters(dlq.Query{}) {
		if l.Key == key {
			s.Errorf("a letter of key %s is still there", key)
		}
	}
	if now := n.letters(dlq.Query{}); len(now) != total-3 {
		s.Errorf("%d letters are left, want %d", len(now), total-3)
	}
}
