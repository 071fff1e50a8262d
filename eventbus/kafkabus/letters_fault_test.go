package kafkabus_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/middleware"
)

// failing opens a bus whose handler fails for good, publishes one event, and
// returns how often it was handled.
func failing(t testing.TB, cfg kafkabus.Config) (*kafkabus.Bus, *atomic.Int32) {
	t.Helper()
	cfg.Topics = kafkabus.TopicConfig{Partitions: 1}
	bus := openBus(t, cfg)
	times := &atomic.Int32{}
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, Placed) error {
		times.Add(1)
		return middleware.Permanent(errors.New("never"))
	}); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), placed("a")); err != nil {
		t.Fatal(err)
	}
	return bus, times
}

func letters(t testing.TB, bus *kafkabus.Bus) (ids []string) {
	t.Helper()
	for l, err := range bus.DeadLetters().List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.ID)
	}
	return ids
}

// While letters cannot be stored, their events are not committed. The burial is
// tried again, and told in the log; no handler runs again for it.
func TestBus_ABurialThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	prefix, log := name("bury"), &lines{}
	refused := cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: prefix + ".stream.dlq", Err: kerr.TopicAuthorizationFailed, Count: -1,
	})
	bus, times := failing(t, kafkabus.Config{Client: client, TopicPrefix: prefix, Logger: slog.New(log)})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := refused.Wait(ctx, 3); err != nil {
		t.Fatalf("the burial was not tried again: %v", err)
	}
	if n, err := bus.Lag(t.Context()); n != 1 || err != nil {
		t.Errorf("lag %d, %v; want the event uncommitted", n, err)
	}
	refused.Remove()
	eventually(t, "it is committed", func() bool { n, err := bus.Lag(t.Context()); return n == 0 && err == nil })
	if ids := letters(t, bus); len(ids) != 1 {
		t.Errorf("letters: %v, want one", ids)
	}
	if n := times.Load(); n != 1 {
		t.Errorf("the handler ran %d times, want once", n)
	}
	if text := strings.Join(log.All(), "\n"); !strings.Contains(text, "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("no word of it in the log:\n%s", text)
	}
}

// A replay that ends between its publishing and the removal of the letter
// doubles the event; the letter is still there, and nothing is lost.
func TestBus_AReplayThatIsCutDoublesAtMost(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	prefix := name("replay")
	bus, times := failing(t, kafkabus.Config{Client: client, TopicPrefix: prefix})
	eventually(t, "it is buried", func() bool { n, err := bus.DeadLetters().Count(t.Context()); return n == 1 && err == nil })
	first := letters(t, bus)
	refused := cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: prefix + ".stream.dlq", Err: kerr.TopicAuthorizationFailed, Count: -1,
	})
	if err := bus.DeadLetters().Replay(t.Context(), first[0]); err == nil {
		t.Error("the replay says nothing of the letter that could not be removed")
	}
	eventually(t, "it is handled again", func() bool { return times.Load() == 2 })
	refused.Remove()
	eventually(t, "the letter of the second failure is there, beside the first", func() bool { return len(letters(t, bus)) == 2 })
	if err := bus.DeadLetters().Replay(t.Context(), first[0]); err != nil {
		t.Errorf("replayed again: %v", err)
	}
	eventually(t, "it is handled a third time", func() bool { return times.Load() == 3 })
	if _, err := bus.DeadLetters().Get(t.Context(), first[0]); !errors.Is(err, dlq.ErrNotFound) {
		t.Errorf("the replayed letter: %v, want it gone", err)
	}
}
