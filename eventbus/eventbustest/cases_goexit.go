package eventbustest

import (
	"context"
	"runtime"
	"slices"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
)

func goexitCases() []Case {
	return []Case{{
		Name: "EndedGoroutineIsAFailure", Laws: []int{3, 5}, run: endedGoroutineIsAFailure,
		Why: "a handler that ends its goroutine, as a test's FailNow does, has failed an attempt: it is tried again, then buried, and what comes behind it is handled",
	}}
}

func endedGoroutineIsAFailure(s *session) {
	n := s.start(func(o *Options) { o.Concurrency = 2 })
	var runs tally
	n.on("ends", func(_ context.Context, e placed) error {
		if run := runs.add("ends", &e); e.N == 1 || e.N == 2 && run == 1 {
			runtime.Goexit()
		}
		return nil
	})
	n.on("other", func(_ context.Context, e placed) error { runs.add("other", &e); return nil })
	events := []eventbus.Event{place("k", 1), place("k", 2), place("k", 3), place("l", 3)}
	for _, e := range events {
		ended := make(chan struct{})
		go func() { // in memory it may be the handler's
			defer close(ended)
			if err := n.Bus.Publish(s.ctx(), e); err != nil {
				s.Errorf("publish: %v", err)
			}
		}()
		wait(s, ended, "the publisher is through")
	}
	n.consumed(int64(len(events)))
	for i, want := range []int{attemptsOf[fails], attemptsOf[failsOnce], 1, 1} {
		if ends, other := runs.of("ends", events[i]), runs.of("other", events[i]); ends != want || other != 1 {
			s.Errorf("event %d: the handler ran %d times, the other one %d times, want %d and 1", i+1, ends, other, want)
		}
	}
	if stats := n.Bus.Stats(); stats.HandlerErrors != 4 || stats.HandlerSuccesses != 7 || stats.EventsProcessedFailed != 1 {
		s.Errorf("%d attempts failed, %d succeeded, %d events failed, want 4, 7, 1", stats.HandlerErrors, stats.HandlerSuccesses, stats.EventsProcessedFailed)
	}
	if s.has(Letters) {
		letters := n.letters(dlq.Query{})
		if len(letters) != 1 || letters[0].MessageID != events[0].EventBase().EventID || !slices.Equal(letters[0].Handlers, []string{"ends"}) {
			s.Errorf("letters %+v, want one, of the first event, that names the handler", letters)
		}
	}
	if report := n.stop(); report.HandedBack != 0 {
		s.Errorf("%d events were handed back by an idle bus", report.HandedBack)
	}
}
