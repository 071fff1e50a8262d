package eventbustest

import (
	"context"
	"sync"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

func statsCases() []Case {
	return []Case{{
		Name: "StatisticsAddUp", run: statisticsAddUp,
		Why: "consumed = success + failed + skipped, invoked = success + errors, at every moment and after a reset; a snapshot is a copy",
	}}
}

func statisticsAddUp(s *session) {
	n := s.start(func(o *Options) { o.Concurrency = 4 })
	g := s.generator()
	want := eventbus.Stats{}
	n.on("mixed", func(_ context.Context, e placed) error {
		switch e.N {
		case 1:
			return errPlanned
		case 2:
			return middleware.Discard(errPlanned)
		case 3:
			return middleware.Permanent(errPlanned)
		}
		return nil
	})
	n.on("steady", func(context.Context, placed) error { return nil })
	reading, stop := context.WithCancel(s.ctx())
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for reading.Err() == nil {
				identities(s, n.Bus.Stats())
			}
		})
	}
	began := time.Now().Add(-time.Millisecond)
	var events []eventbus.Event
	for range s.scaled(60) {
		if g.chance(5) {
			events = append(events, ship("k", 0)) // nobody wants it
			want.EventsSkipped++
			continue
		}
		e := place("k", g.IntN(4))
		want.HandlersInvoked += 2
		want.HandlerSuccesses++
		switch e.N {
		case 0:
			want.HandlerSuccesses++
			want.EventsProcessedSuccess++
		case 1:
			want.HandlersInvoked += 2
			want.Retries += 2
			want.HandlerErrors += 3
			want.EventsProcessedFailed++
			want.MessagesSentToDLQ++
		case 2:
			want.HandlerErrors++
			want.HandlerDiscards++
			want.EventsProcessedSuccess++
		case 3:
			want.HandlerErrors++
			want.EventsProcessedFailed++
			want.MessagesSentToDLQ++
		}
		events = append(events, e)
	}
	want.EventsPublished, want.EventsConsumed = int64(len(events)), int64(len(events))
	n.publish(events...)
	n.consumed(int64(len(events)))
	stop()
	readers.Wait()

	first := n.Bus.Stats()
	got := first
	for _, at := range []time.Time{got.LastPublishAt, got.LastConsumeAt, got.LastErrorAt} {
		if want.HandlerErrors > 0 && (at.Before(began) || at.After(time.Now().Add(time.Second))) {
			s.Errorf("a time of the statistics is %v, want one since %v", at, began)
		}
	}
	if got.ConnectedAt.IsZero() {
		s.Error("ConnectedAt is zero")
	}
	got.LastPublishAt, got.LastConsumeAt, got.LastErrorAt, got.ConnectedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if got != want {
		s.Errorf("statistics\n%+v, want\n%+v", got, want)
	}

	n.Bus.ResetStats()
	reset := n.Bus.Stats()
	if reset.EventsPublished != 0 || reset.EventsConsumed != 0 || reset.HandlersInvoked != 0 || reset.MessagesSentToDLQ != 0 || !reset.LastPublishAt.IsZero() {
		s.Errorf("after a reset: %+v, want nothing", reset)
	}
	if first.EventsPublished != want.EventsPublished {
		s.Error("the reset changed a snapshot that was taken before it")
	}
	n.publish(place("k", 0), place("k", 3))
	n.consumed(2)
	n.stop()
	again := n.Bus.Stats()
	identities(s, again)
	if again.EventsProcessedSuccess != 1 || again.EventsProcessedFailed != 1 || again.EventsPublished != 2 {
		s.Errorf("after a reset and two events: %+v, want 1 success, 1 failure, 2 published", again)
	}
}

func identities(s *session, got eventbus.Stats) {
	if sum := got.EventsProcessedSuccess + got.EventsProcessedFailed + got.EventsSkipped; got.EventsConsumed != sum {
		s.Errorf("consumed %d, but success, failed and skipped make %d", got.EventsConsumed, sum)
	}
	if sum := got.HandlerSuccesses + got.HandlerErrors; got.HandlersInvoked != sum {
		s.Errorf("handlers invoked %d, but successes and errors make %d", got.HandlersInvoked, sum)
	}
}
