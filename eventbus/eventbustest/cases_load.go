package eventbustest

import (
	"context"
	"fmt"
	"sync"

	"github.com/leat-go/leat/eventbus"
)

func loadCases() []Case {
	return []Case{{
		Name: "FiftyGoroutines", run: fiftyGoroutines,
		Why: "while fifty goroutines publish, subscribe, unsubscribe and look, nothing is lost and nothing races",
	}}
}

func fiftyGoroutines(s *session) {
	each := s.scaled(50)
	n := s.start(func(o *Options) { o.Concurrency = 4 })
	ledger := &Ledger{Once: true}
	if _, err := n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), "reader", ledger.Handler("reader", nil)); err != nil {
		s.Fatal(err)
	}
	nothing := eventbus.HandlerFunc(func(context.Context, eventbus.Event) error { return nil })
	ctx := s.ctx()
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for i := range each {
				var err error
				switch g % 5 {
				case 0, 1:
					err = ledger.Publish(ctx, n.Bus, place(fmt.Sprintf("k%d", g), i))
				case 2:
					err = ledger.Publish(ctx, n.Bus, place(fmt.Sprintf("k%d", g), i), place(fmt.Sprintf("l%d", g), i))
				case 3:
					var sub *eventbus.Subscription
					if sub, err = n.Bus.SubscribeHandler(eventbus.TypeFor[placed](), fmt.Sprintf("h%d", g), nothing); err == nil && !sub.Unsubscribe() {
						err = fmt.Errorf("subscription of h%d was gone", g)
					}
				default:
					if i%10 == 0 {
						if _, err = n.Bus.SubscribeToAllEvents(fmt.Sprintf("w%d", g), nothing); err == nil && !n.Bus.UnsubscribeFromAllEvents(fmt.Sprintf("w%d", g)) {
							err = fmt.Errorf("wildcard w%d was gone", g)
						}
					}
					_, _, _ = n.Bus.Stats(), n.Bus.SubscriberCount(), n.Bus.Chain()
				}
				if err != nil {
					s.Errorf("goroutine %d: %v", g, err)
					return
				}
			}
		})
	}
	wg.Wait()
	s.until("all events handled", func() bool { return ledger.Finished("reader") >= ledger.Confirmed() },
		func() any { return fmt.Sprintf("%d of %d", ledger.Finished("reader"), ledger.Confirmed()) })
	n.stop()
	ledger.Check(s)
	if want := 40 * each; ledger.Confirmed() != want { // 20 goroutines with one event a turn, 10 with two
		s.Errorf("%d events confirmed, want %d", ledger.Confirmed(), want)
	}
	if got := n.Bus.SubscriberCount() + n.Bus.WildcardSubscriberCount(); got != 1 {
		s.Errorf("%d subscribers at the end, want 1", got)
	}
}
