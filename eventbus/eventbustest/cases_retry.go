package eventbustest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

func retryCases() []Case {
	return []Case{
		{
			Name: "WaitsGrowToTheCap", Laws: []int{4}, run: waitsGrow,
			Why: "a handler that keeps failing runs MaxRetries + 1 times, after waits of base, 2x base and so on up to the cap",
		},
		{
			Name: "JitterIsSymmetric", Laws: []int{4}, run: jitterIsSymmetric,
			Why: "jitter moves a wait in both directions, within its fraction, and never below zero",
		},
		{
			Name: "HugeRetryCountsStayFinite", Laws: []int{4}, run: hugeCounts,
			Why: "after any number of retries the wait is the cap, not an overflow",
		},
		{
			Name: "PermanentIsNotRetried", Laws: []int{2, 3}, run: permanent,
			Why: "a handler that says Permanent runs once and leaves a letter",
		},
		{
			Name: "RetryAfterIsHonoured", Laws: []int{4}, run: retryAfter,
			Why: "a handler that says RetryAfter runs again after that wait",
		},
		{
			Name: "DiscardLeavesNoLetter", Laws: []int{2}, run: discard,
			Why: "an event that its handler discards is acknowledged and counted, and leaves no letter",
		},
		{
			Name: "ExhaustedLeavesOneLetter", Laws: []int{2, 3}, Need: []Feature{Letters}, run: exhausted,
			Why: "an event whose handlers gave up leaves one letter that names them, the cause and the attempts, and then the next event goes on",
		},
	}
}

// waits records what a retry policy tells its hook.
type waits struct {
	mu   sync.Mutex
	told []time.Duration
}

func (w *waits) hook(_ *message.Message, info middleware.RetryInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, info.Delay)
}

func (w *waits) all() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

// failing publishes one event to a handler that always fails under the policy,
// and returns the waits when the event is through.
func (s *session) failing(r middleware.Retry) (told []time.Duration, runs int, took time.Duration) {
	s.Helper()
	n := s.start()
	var w waits
	r.OnRetry = w.hook
	got := n.recordWith("failing", func(context.Context, eventbus.Event) error { return errPlanned }, eventbus.WithRetry(r))
	began := time.Now()
	n.publish(place("k", 1))
	n.consumed(1)
	return w.all(), got.Len(), time.Since(began)
}

func waitsGrow(s *session) {
	ms := time.Millisecond
	told, runs, took := s.failing(middleware.Retry{MaxRetries: 5, BaseDelay: 2 * ms, MaxDelay: 9 * ms, Multiplier: 2, Jitter: middleware.NoJitter})
	want := []time.Duration{2 * ms, 4 * ms, 8 * ms, 9 * ms, 9 * ms}
	if !slices.Equal(told, want) || runs != 6 {
		s.Errorf("%d runs with waits %v, want 6 with %v", runs, told, want)
	}
	if took < 32*ms {
		s.Errorf("it took %v, less than the waits together (32ms): they were not kept", took)
	}
}

func jitterIsSymmetric(s *session) {
	const base, retries = 100 * time.Microsecond, 150
	told, runs, _ := s.failing(middleware.Retry{MaxRetries: retries, BaseDelay: base, MaxDelay: base, Jitter: 0.5})
	if runs != retries+1 || len(told) != retries {
		s.Fatalf("%d runs and %d waits, want %d and %d", runs, len(told), retries+1, retries)
	}
	below, above := 0, 0
	for _, d := range told {
		switch {
		case d < base/2 || d > base*3/2:
			s.Errorf("wait of %v, want %v +- 50%%", d, base)
		case d < base:
			below++
		case d > base:
			above++
		}
	}
	if below < retries/5 || above < retries/5 {
		s.Errorf("%d waits below the base and %d above it: the jitter leans to one side", below, above)
	}
}

func hugeCounts(s *session) {
	const retries, limit = 1100, 10 * time.Microsecond
	told, runs, _ := s.failing(middleware.Retry{MaxRetries: retries, BaseDelay: time.Nanosecond, MaxDelay: limit, Multiplier: 10, Jitter: middleware.NoJitter})
	if runs != retries+1 {
		s.Errorf("%d runs, want %d", runs, retries+1)
	}
	for i, d := range told {
		if want := limit; i > 5 && d != want {
			s.Fatalf("wait %d is %v, want the cap %v", i+1, d, want)
		}
	}
}

func permanent(s *session) {
	n := s.start()
	got := n.recordWith("refusing", func(context.Context, eventbus.Event) error {
		return middleware.Permanent(fmt.Errorf("wrapped: %w", errPlanned))
	})
	n.publish(place("k", 1))
	n.consumed(1)
	if stats := n.Bus.Stats(); got.Len() != 1 || stats.Retries != 0 || stats.EventsProcessedFailed != 1 || stats.MessagesSentToDLQ != 1 {
		s.Errorf("%d runs, stats %+v; want 1 run, no retries, 1 failed, 1 letter", got.Len(), stats)
	}
	if s.has(Letters) {
		if l := n.letters(dlq.Query{}); len(l) != 1 || l[0].Reason != dlq.ReasonPermanent || l[0].Attempts != 1 {
			s.Errorf("letters %+v, want one with reason %s and 1 attempt", l, dlq.ReasonPermanent)
		}
	}
}

func retryAfter(s *session) {
	const after = 7 * time.Millisecond
	n := s.start()
	var w waits
	r := quick()
	r.OnRetry = w.hook
	var got *Recorder
	got = n.recordWith("later", func(context.Context, eventbus.Event) error {
		if got.Len() == 1 {
			return middleware.RetryAfter(errPlanned, after)
		}
		return nil
	}, eventbus.WithRetry(r))
	n.publish(place("k", 1))
	n.consumed(1)
	if told := w.all(); got.Len() != 2 || !slices.Equal(told, []time.Duration{after}) {
		s.Errorf("%d runs with waits %v, want 2 with %v", got.Len(), told, after)
	}
	if stats := n.Bus.Stats(); stats.EventsProcessedSuccess != 1 || stats.Retries != 1 {
		s.Errorf("stats %+v, want 1 success after 1 retry", stats)
	}
}

func discard(s *session) {
	n := s.start()
	got := n.recordWith("discarding", func(context.Context, eventbus.Event) error { return middleware.Discard(errPlanned) })
	other := n.record("other")
	e, next := place("k", 1), place("k", 2)
	n.publish(e, next)
	n.consumed(2)
	other.WantAnyOrder(s, e, next)
	stats := n.Bus.Stats()
	if got.Len() != 2 || stats.HandlerDiscards != 2 || stats.MessagesSentToDLQ != 0 || stats.EventsProcessedFailed != 0 || stats.EventsProcessedSuccess != 2 {
		s.Errorf("%d runs, stats %+v; want 2 runs, 2 discards, 2 successes, no letter", got.Len(), stats)
	}
	if s.has(Letters) {
		if l := n.letters(dlq.Query{}); len(l) != 0 {
			s.Errorf("%d letters, want none", len(l))
		}
	}
}

func exhausted(s *session) {
	n := s.start()
	n.on("failing", func(_ context.Context, e placed) error {
		if e.N == 1 {
			return fmt.Errorf("no stock: %w", errPlanned)
		}
		return nil
	})
	good := n.record("good")
	bad, next := place("order-7", 1), place("order-7", 2)
	bad.Text = "the payload"
	before := time.Now().Add(-time.Second)
	n.publish(bad, next)
	good.WantAnyOrder(s, bad, next)
	n.consumed(2)
	letters := n.letters(dlq.Query{})
	if len(letters) != 1 {
		s.Fatalf("%d letters, want one: %+v", len(letters), letters)
	}
	l := letters[0]
	var wrong []string
	check := func(ok bool, what string, got any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s is %v", what, got))
		}
	}
	check(l.ID != "", "ID", l.ID)
	check(l.MessageID == bad.EventID, "MessageID", l.MessageID)
	check(l.Key == "order-7", "Key", l.Key)
	check(slices.Equal(l.Handlers, []string{"failing"}), "Handlers", l.Handlers)
	check(l.Reason == dlq.ReasonMaxRetries, "Reason", l.Reason)
	check(strings.Contains(l.ErrorMessage, "no stock"), "ErrorMessage", l.ErrorMessage)
	check(l.ErrorType != "", "ErrorType", l.ErrorType)
	check(l.Attempts == 3, "Attempts", l.Attempts)
	check(l.Group == s.group, "Group", l.Group)
	check(l.Source.Topic != "", "Source.Topic", l.Source.Topic)
	check(l.EventType() == placedName, "EventType", l.EventType())
	check(strings.Contains(string(l.Payload), "the payload"), "Payload", string(l.Payload))
	check(l.Replays == 0, "Replays", l.Replays)
	for what, at := range map[string]time.Time{"FirstFailedAt": l.FirstFailedAt, "LastFailedAt": l.LastFailedAt, "BuriedAt": l.BuriedAt} {
		check(at.After(before) && at.Before(time.Now().Add(time.Second)), what, at)
	}
	check(l.FirstFailedAt.Before(l.LastFailedAt), "FirstFailedAt", l.FirstFailedAt)
	if len(wrong) > 0 {
		s.Errorf("the letter's %s", strings.Join(wrong, "; its "))
	}
	if errs := s.logs.find(0, bad.EventID); len(errs) == 0 {
		s.Error("nothing in the log names the event")
	}
	if stats := n.Bus.Stats(); stats.EventsProcessedFailed != 1 || stats.EventsProcessedSuccess != 1 || stats.MessagesSentToDLQ != 1 {
		s.Errorf("stats %+v, want 1 failed, 1 success, 1 letter", stats)
	}
}
