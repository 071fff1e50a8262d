package eventbustest

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A feature that a bus does have is not shown to be lacking.
func TestShowLacks_FindsAnOutdatedDeclaration(t *testing.T) {
	h := reference(plant{}).withDefaults()
	h.Lacks[Injection] = "once upon a time"
	if shown, tried := h.shows(t, Injection); shown != "" || !slices.Contains(tried, "UndecodableIsBuriedRaw") {
		t.Errorf("shown %q after %v, want nothing after all the cases that inject", shown, tried)
	}
	h = reference(plant{consumer: func(c *consumer) { c.endsOnForeign = true }}).withDefaults()
	h.Lacks[ForeignEntries] = "the subscription ends"
	h.Patience = time.Second
	if shown, _ := h.shows(t, ForeignEntries); !strings.HasPrefix(shown, "ForeignEntryIsSurvived shows: ") {
		t.Errorf("shown %q, want it by ForeignEntryIsSurvived", shown)
	}
}

func TestHarness_ToldWhatItForgot(t *testing.T) {
	h := Harness{Lacks: Lacks{Order: " ", "Speed": "it is slow"}}
	got := strings.Join(h.problems(), "\n")
	for _, want := range []string{
		"Name:", "Open:", "Lacks[Order]: give the reason", `unknown feature "Speed"`,
		"Inject:", "InjectForeign:", "RecoveryTime:", "Secrets:",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no word on %q in:\n%s", want, got)
		}
	}
	if bad := reference(plant{}).problems(); len(bad) > 0 {
		t.Errorf("the reference harness: %v", bad)
	}
}

// Every law has a case, every case says what it promises and needs what exists,
// and every feature is needed.
func TestCases_AreComplete(t *testing.T) {
	checked := map[int]bool{}
	needed := map[Feature]bool{}
	names := map[string]bool{}
	for _, c := range Cases() {
		if c.Name == "" || names[c.Name] {
			t.Errorf("case %q: the name is empty or taken", c.Name)
		}
		names[c.Name] = true
		if len(c.Why) < 30 || strings.HasSuffix(c.Why, ".") || c.run == nil {
			t.Errorf("case %s: why %q", c.Name, c.Why)
		}
		for _, l := range c.Laws {
			checked[l] = true
		}
		for _, f := range c.Need {
			needed[f] = true
			if !slices.Contains(features, f) {
				t.Errorf("case %s needs %q, which is no feature", c.Name, f)
			}
		}
	}
	for law := 1; law <= 12; law++ {
		if !checked[law] {
			t.Errorf("no case checks law %d", law)
		}
	}
	for _, f := range features {
		if !needed[f] && f != OneStream { // which only changes what LettersAreListedWhole expects
			t.Errorf("no case needs %s", f)
		}
	}
}

func TestTable_ListsResultsInOrder(t *testing.T) {
	h := Harness{Name: "mybus"}
	sheet := newTable(h)
	cases := Cases()
	sheet.set(cases[1], "skip", "Order: none")
	sheet.set(cases[0], "pass", "")
	sheet.set(cases[2], "FAIL", "")
	got := sheet.String()
	first, second := strings.Index(got, cases[0].Name), strings.Index(got, cases[1].Name)
	if first < 0 || second < first || !strings.Contains(got, "Order: none") || !strings.Contains(got, "mybus") ||
		!strings.Contains(got, "1 passed, 1 failed, 1 skipped") || strings.Contains(got, cases[3].Name) {
		t.Errorf("table:\n%s", got)
	}
}
