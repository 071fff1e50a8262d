package eventbustest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/leat-go/leat/eventbus"
)

func roundTripCases() []Case {
	return []Case{
		{
			Name: "EveryFieldArrives", Laws: []int{1, 2}, run: everyFieldArrives,
			Why: "a published event reaches its handler once, with the same id and every base and own field",
		},
		{
			Name: "ConfirmedIsHandled", Laws: []int{1, 2}, run: confirmedIsHandled,
			Why: "every event for which Publish returned nil is handled by every handler",
		},
		{
			Name: "PublishOfNothing", Laws: []int{1}, run: publishOfNothing,
			Why: "publishing nothing does nothing, and an event that no handler wants is no error",
		},
	}
}

func everyFieldArrives(s *session) {
	n := s.start()
	got := n.record("reader")
	g := s.generator()
	sent := map[string]*placed{}
	for total := s.scaled(120); len(sent) < total; {
		var batch []eventbus.Event
		for range 1 + g.IntN(7) {
			e := g.placed()
			sent[e.EventID] = e
			batch = append(batch, e)
		}
		n.publish(batch...)
	}
	got.Wait(s, len(sent))
	n.stop()
	for _, e := range EventsOf[placed](got) {
		want := sent[e.EventID]
		if want == nil {
			s.Errorf("event %s was never published, or came twice", e.EventID)
			continue
		}
		delete(sent, e.EventID)
		if fields := differences(&e, asReceived(want)); len(fields) > 0 {
			s.Errorf("event %s arrived with other %v:\n got %s\nwant %s", e.EventID, fields, spell(&e), spell(asReceived(want)))
		}
	}
	for id := range sent {
		s.Errorf("event %s never arrived", id)
	}
}

// spell writes an event for people, cut to what they can read.
func spell(e *placed) string {
	text, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	if len(text) > 1500 {
		return string(text[:1500]) + "..."
	}
	return string(text)
}

func confirmedIsHandled(s *session) {
	const publishers = 3
	each := s.scaled(100)
	n := s.start()
	ledger := &Ledger{Once: true}
	for _, name := range []string{"first", "second"} {
		if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), name, ledger.Handler(name, nil)); err != nil {
			s.Fatal(err)
		}
	}
	ctx := s.ctx()
	errs := make([]error, publishers)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				errs[p] = errors.Join(errs[p], ledger.Publish(ctx, n.Bus, place(fmt.Sprintf("key-%d-%d", p, i%5), i)))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		s.Fatalf("publish: %v", err)
	}
	for _, name := range []string{"first", "second"} {
		s.until("handler "+name+" finished all", func() bool { return ledger.Finished(name) >= publishers*each },
			func() any { return fmt.Sprintf("%d of %d", ledger.Finished(name), publishers*each) })
	}
	n.stop()
	ledger.Check(s)
}

func publishOfNothing(s *session) {
	n := s.start()
	ctx := s.ctx()
	if err := errors.Join(n.Bus.Publish(ctx), n.Bus.PublishInBackground(ctx)); err != nil {
		s.Errorf("publishing nothing: %v", err)
	}
	if stats := n.Bus.Stats(); stats.EventsPublished != 0 || !stats.LastPublishAt.IsZero() || stats.BackgroundTasksCreated != 0 {
		s.Errorf("publishing nothing was counted: %+v", stats)
	}
	n.publish(ship("a", 1))
	if got := n.Bus.Stats().EventsPublished; got != 1 {
		s.Errorf("EventsPublished = %d after one event without a handler, want 1", got)
	}
}
