package main

import (
	"strings"
	"testing"

	"github.com/leat-go/leat/eventbus"
)

func TestTally_SeesWhatWentWrong(t *testing.T) {
	t.Parallel()
	reg, err := newRegistry()
	if err != nil {
		t.Fatal(err)
	}
	y := newTally(reg)
	y.learn([]eventbus.HandlerStats{{Handler: "audit"}, {Handler: "ledger", EventType: "OrderPaid"}})
	var ids []string
	for _, order := range []string{"fine", "lost", "doubled"} {
		e := &OrderPaid{Base: eventbus.NewBase(order)}
		y.accept([]eventbus.Event{e, e})
		ids = append(ids, e.EventID)
	}
	y.handled(ids[0], "audit")
	y.handled(ids[0], "ledger")
	y.handled(ids[1], "audit")
	y.handled(ids[2], "audit")
	y.handled(ids[2], "ledger")
	y.handled(ids[2], "ledger")
	y.handled("another run's", "ledger")

	if events, runs := y.counts(); events != 3 || runs != 6 || y.foreign != 1 || y.open != 1 || y.doubled != 1 {
		t.Errorf("got %d events, %d runs, %d foreign, %d open, %d doubled", events, runs, y.foreign, y.open, y.doubled)
	}
	problems := strings.Join(y.problems(), "\n")
	wantAll(t, "the problems", problems, "OrderPaid of order lost: ledger handled it 0 times", "OrderPaid of order doubled: ledger handled it 2 times")
	wantCount(t, problems, "\n", 1)
}
