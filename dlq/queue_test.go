package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
)

var errBroker = errors.New("broker away")

// failing is a store whose Delete and Remove fail while told to: the process
// died, or the broker went away, after the message was published.
type failing struct {
	dlq.Store
	err error
}

func (f *failing) Delete(ctx context.Context, ids ...string) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.Store.Delete(ctx, ids...)
}

func newQueue(t *testing.T, c dlq.Config) *dlq.Queue {
	t.Helper()
	q, err := dlq.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func mustBury(t *testing.T, s dlq.Burier, letters ...dlq.Letter) []string {
	t.Helper()
	var ids []string
	for _, l := range letters {
		id, err := s.Bury(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestQueue_ReplayPublishesTheOriginalAimedAtWhatFailed(t *testing.T) {
	t.Parallel()
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	var hooked []string
	q := newQueue(t, dlq.Config{Store: s, Publisher: g, OnReplay: func(_ context.Context, l dlq.Letter) { hooked = append(hooked, l.ID) }})
	l := full()
	l.Replays = 1
	ids := mustBury(t, s, dlqtest.Letter(1), l, dlqtest.Letter(2))

	if err := q.Replay(t.Context(), ids[1]); err != nil { // not the oldest
		t.Fatal(err)
	}

	sent := g.published("orders:stream")
	if len(sent) != 1 {
		t.Fatalf("%d messages published, want 1", len(sent))
	}
	m := sent[0]
	want := maps.Clone(l.Metadata)
	want["dlq_replay_count"] = "2"
	want["dlq_consumer_group"] = "billing"
	want["dlq_handlers"] = "send-invoice,odd%2C 100%25"
	if m.UUID != l.MessageID || string(m.Payload) != string(l.Payload) || !maps.Equal(m.Metadata, want) {
		t.Errorf("replayed:\n%swant metadata %v", spell(m), want)
	}
	target, ok := dlq.ReplayTarget(m)
	if !ok || target.Group != "billing" || target.Replays != 2 || !slices.Equal(target.Handlers, l.Handlers) {
		t.Errorf("target %+v, %v", target, ok)
	}
	if n, _ := q.Count(t.Context()); n != 2 {
		t.Errorf("count after replay = %d, want 2", n)
	}
	if err := q.Replay(t.Context(), ids[1]); !errors.Is(err, dlq.ErrNotFound) {
		t.Errorf("replay again: %v, want %v", err, dlq.ErrNotFound)
	}
	if !slices.Equal(hooked, ids[1:2]) {
		t.Errorf("OnReplay saw %v, want %v", hooked, ids[1:2])
	}
	if g.closes != 0 {
		t.Error("the given publisher was closed")
	}
}

func TestQueue_ReplayOptions(t *testing.T) {
	t.Parallel()
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	q := newQueue(t, dlq.Config{Store: s, Publisher: g, Topic: "fallback"})
	homeless := dlq.Letter{MessageID: "m", Key: "k", Group: "g", Handlers: []string{"h"}}
	ids := mustBury(t, s, homeless, homeless)
	if err := q.Replay(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"dlq_replay_count": "1", "dlq_consumer_group": "g", "dlq_handlers": "h", "dlq_key": "k"}
	if sent := g.published("fallback"); len(sent) != 1 || !maps.Equal(sent[0].Metadata, want) {
		t.Errorf("to the queue's topic: %d messages, want one with %v", len(sent), want)
	}
	if err := q.Replay(t.Context(), ids[1], dlq.ToTopic("elsewhere"), dlq.ForEveryone()); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"dlq_replay_count": "1", "dlq_key": "k"}
	if sent := g.published("elsewhere"); len(sent) != 1 || !maps.Equal(sent[0].Metadata, want) {
		t.Errorf("for everyone, elsewhere: %d messages, want one with %v", len(sent), want)
	}
}

func TestQueue_CapAndForce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		maxReplays, replays int
		refused             bool
	}{
		"default, below":   {0, 2, false},
		"default, at":      {0, 3, true},
		"own, at":          {1, 1, true},
		"unlimited":        {dlq.Unlimited, 1_000_000, false},
		"above, lowered":   {1, 7, true},
		"own, never tried": {1, 0, false},
	} {
		g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
		q := newQueue(t, dlq.Config{Store: s, Publisher: g, MaxReplays: tc.maxReplays})
		l := full()
		l.Replays = tc.replays
		id := mustBury(t, s, l)[0]
		err := q.Replay(t.Context(), id)
		var limit *dlq.ReplayLimitError
		if got := errors.As(err, &limit); got != tc.refused {
			t.Errorf("%s: %v, want refused %v", name, err, tc.refused)
		}
		if !tc.refused {
			continue
		}
		if limit.ID != id || limit.Replays != tc.replays || len(g.published("orders:stream")) != 0 {
			t.Errorf("%s: %+v, %d published", name, limit, len(g.published("orders:stream")))
		}
		if n, _ := q.Count(t.Context()); n != 1 {
			t.Errorf("%s: a refused letter is gone", name)
		}
		if err := q.Replay(t.Context(), id, dlq.Force()); err != nil {
			t.Errorf("%s, forced: %v", name, err)
		}
	}
}

func TestQueue_PublishFailureKeepsTheLetter(t *testing.T) {
	t.Parallel()
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	g.fail = func(string, *message.Message) error { return errBroker }
	q := newQueue(t, dlq.Config{Store: s, Publisher: g})
	id := mustBury(t, s, full())[0]
	var failed *dlq.ReplayError
	if err := q.Replay(t.Context(), id); !errors.As(err, &failed) || !errors.Is(err, errBroker) || failed.Published || failed.Topic != "orders:stream" {
		t.Fatalf("replay: %v, want a *ReplayError that was not published", err)
	}
	if l, err := q.Get(t.Context(), id); err != nil || l.Replays != 2 {
		t.Errorf("letter after a failed replay: %+v, %v", l, err)
	}
	g.fail = nil
	if err := q.Replay(t.Context(), id); err != nil {
		t.Errorf("replay when the broker is back: %v", err)
	}
}

// A crash between publish and removal doubles the message, once for each
// replay that did not get to its end, and never loses it.
func TestQueue_CrashBetweenPublishAndRemove(t *testing.T) {
	t.Parallel()
	g := newLog()
	s := &failing{Store: dlq.NewMemStore(dlq.MemConfig{}), err: errBroker}
	q := newQueue(t, dlq.Config{Store: s, Publisher: g})
	id := mustBury(t, s, full())[0]

	var failed *dlq.ReplayError
	if err := q.Replay(t.Context(), id); !errors.As(err, &failed) || !failed.Published || !errors.Is(err, errBroker) {
		t.Fatalf("replay: %v, want a *ReplayError that was published", err)
	}
	if n, _ := q.Count(t.Context()); n != 1 || len(g.published("orders:stream")) != 1 {
		t.Fatalf("%d letters, %d messages, want 1 and 1", n, len(g.published("orders:stream")))
	}
	s.err = nil
	if err := q.Replay(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	sent := g.published("orders:stream")
	if len(sent) != 2 || sent[0].UUID != sent[1].UUID {
		t.Errorf("%d messages, want the same one twice", len(sent))
	}
	if n, _ := q.Count(t.Context()); n != 0 {
		t.Errorf("count = %d, want 0", n)
	}
}

// The caller goes away while the message is being published: what is out must
// not stay in the queue.
func TestQueue_RemovesEvenIfTheCallerIsGone(t *testing.T) {
	t.Parallel()
	g := newLog()
	s := newTopic(t, g)
	ctx, cancel := context.WithCancel(t.Context())
	id := mustBury(t, s, full())[0]
	g.fail = func(topic string, _ *message.Message) error {
		if topic == "orders:stream" {
			cancel()
		}
		return nil
	}
	if err := newQueue(t, dlq.Config{Store: s, Publisher: g}).Replay(ctx, id); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("count = %d, %v, want 0", n, err)
	}
}

// Somebody removes the letter while its message is being published: what was
// wanted has happened.
func TestQueue_LetterRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	id := mustBury(t, s, full())[0]
	g.fail = func(string, *message.Message) error { return s.Remove(t.Context(), id) }
	if err := newQueue(t, dlq.Config{Store: s, Publisher: g}).Replay(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestQueue_WithoutPublisher(t *testing.T) {
	t.Parallel()
	s := dlq.NewMemStore(dlq.MemConfig{})
	q := newQueue(t, dlq.Config{Store: s})
	id := mustBury(t, s, full())[0]
	if err := q.Replay(t.Context(), id); !errors.Is(err, dlq.ErrUnavailable) {
		t.Errorf("replay: %v, want %v", err, dlq.ErrUnavailable)
	}
	if _, err := q.ReplayAll(t.Context(), dlq.Query{}); !errors.Is(err, dlq.ErrUnavailable) {
		t.Errorf("replay all: %v, want %v", err, dlq.ErrUnavailable)
	}
	if n, err := q.Delete(t.Context(), id); n != 1 || err != nil {
		t.Errorf("delete = %d, %v", n, err)
	}
	if n, err := q.Delete(t.Context()); n != 0 || err != nil {
		t.Errorf("delete of nothing = %d, %v", n, err)
	}
}

func TestQueue_HookPanicHarmsNothing(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	g, s := newLog(), dlq.NewMemStore(dlq.MemConfig{})
	q := newQueue(t, dlq.Config{
		Store: s, Publisher: g, Logger: slog.New(slog.NewTextHandler(&out, nil)),
		OnReplay: func(context.Context, dlq.Letter) { panic("hook") },
	})
	id := mustBury(t, s, full())[0]
	if err := q.Replay(t.Context(), id); err != nil {
		t.Error(err)
	}
	if n, _ := q.Count(t.Context()); n != 0 || !strings.Contains(out.String(), "hook panicked") {
		t.Errorf("%d letters left; log:\n%s", n, out.String())
	}
	mustBury(t, s, full())
	if n, err := q.Purge(t.Context()); n != 1 || err != nil || !strings.Contains(out.String(), "purged") {
		t.Errorf("purge = %d, %v; log:\n%s", n, err, out.String())
	}
}

func TestConfig_ValidateTellsEverything(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want []string
	}{
		"queue": {dlq.Config{MaxReplays: -2}.Validate(), []string{"dlq: Config.Store", "dlq: Config.MaxReplays"}},
		"topic": {
			dlq.TopicConfig{Settle: -1, ReadTimeout: -time.Second}.Validate(),
			[]string{"dlq: TopicConfig.Publisher", "dlq: TopicConfig.Topic", "dlq: TopicConfig.Settle", "dlq: TopicConfig.ReadTimeout"},
		},
	} {
		lines := strings.Split(fmt.Sprint(tc.err), "\n")
		for i, want := range tc.want {
			if i >= len(lines) || !strings.HasPrefix(lines[i], want+":") {
				t.Errorf("%s: %q, want a line that begins with %q", name, lines, want)
			}
		}
	}
	if _, err := dlq.New(dlq.Config{}); err == nil {
		t.Error("New took a configuration without a store")
	}
	if _, err := dlq.NewTopic(dlq.TopicConfig{}); err == nil {
		t.Error("NewTopic took an empty configuration")
	}
}
