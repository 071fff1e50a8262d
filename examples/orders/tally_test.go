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
	y := newTally(reg, 1)
	y.learn([]eventbus.HandlerStats{{Handler: "audit"}, {Handler: "ledger", EventType: "OrderPaid"}})
	var ids []string
	for _, order := range []string{"fine", "lost", "doubled"} {
		e := &OrderPaid{Base: eventbus.NewBase(order)}
		y.accept([]eventbus.Event{e, e})
		ids = append(ids, e.EventID)
	}
	y.handled(0, ids[0], "audit")
	y.handled(0, ids[0], "ledger")
	y.handled(0, ids[1], "audit")
	y.handled(0, ids[2], "audit")
	y.handled(0, ids[2], "ledger")
	y.handled(0, ids[2], "ledger")
	y.handled(0, "another run's", "ledger")

	due, _, _ := y.state()
	k := y.check(false)
	if me := y.parts()[0]; k.events != 3 || k.runs != 6 || due != 1 || me != (part{events: 3, runs: 6, foreign: 1}) {
		t.Errorf("got %d events, %d runs, %d due, %+v", k.events, k.runs, due, me)
	}
	problems := strings.Join(k.problems, "\n")
	wantAll(t, "the problems", problems, "OrderPaid of order lost: ledger handled it 0 times", "OrderPaid of order doubled: ledger handled it 2 times")
	wantCount(t, problems, "\n", 1)
}

func TestCheck_WhatACrashExcuses(t *testing.T) {
	t.Parallel()
	const me, killed, alive, alsoKilled = 0, 1, 2, 3
	for name, c := range map[string]struct {
		by       []int
		repeated int
		problem  string
	}{
		"once":                             {by: []int{alive}},
		"by the killed one alone":          {by: []int{killed}},
		"by the killed one, then another":  {by: []int{killed, alive}, repeated: 1},
		"by two killed ones, then another": {by: []int{killed, alsoKilled, me}, repeated: 2},
		"by two that live":                 {by: []int{me, alive}, problem: "handled it 2 times"},
		"by a killed one and two others":   {by: []int{killed, me, alive}, problem: "handled it 3 times"},
		"twice by the killed one":          {by: []int{killed, killed}, problem: "handled it 2 times"},
		"by nobody":                        {problem: "handled it 0 times"},
	} {
		reg, err := newRegistry()
		if err != nil {
			t.Fatal(err)
		}
		y := newTally(reg, 4)
		y.learn([]eventbus.HandlerStats{{Handler: "audit"}})
		e := &OrderPaid{Base: eventbus.NewBase("o-1")}
		y.accept([]eventbus.Event{e})
		for _, process := range c.by {
			y.handled(process, e.EventID, "audit")
		}
		y.crashed(killed)
		y.crashed(alsoKilled)
		k := y.check(false)
		if problems := strings.Join(k.problems, "\n"); k.repeated != c.repeated || (problems == "") != (c.problem == "") || !strings.Contains(problems, c.problem) {
			t.Errorf("%s: got %d repeated, problems %q", name, k.repeated, problems)
		}
	}
}

func TestCheck_OthersExcuseWhatIsMissingAlone(t *testing.T) {
	t.Parallel()
	reg, err := newRegistry()
	if err != nil {
		t.Fatal(err)
	}
	y := newTally(reg, 2)
	y.learn([]eventbus.HandlerStats{{Handler: "audit"}})
	for _, runs := range []int{0, 1, 2} {
		e := &OrderPaid{Base: eventbus.NewBase("o-1")}
		y.accept([]eventbus.Event{e})
		for process := range runs {
			y.handled(process, e.EventID, "audit")
		}
	}
	if k := y.check(true); k.elsewhere != 1 || len(k.problems) != 1 {
		t.Errorf("got %d elsewhere, problems %q", k.elsewhere, k.problems)
	}
}
