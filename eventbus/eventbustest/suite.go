package eventbustest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Case is one promise and its check.
type Case struct {
	// Name reads as a sentence without spaces; it is the subtest's.
	Name string
	// Laws are the numbers of the laws in leat's design that it checks.
	Laws []int
	// Why is the promise, in one sentence.
	Why string
	// Need lists the features without which it is skipped.
	Need []Feature

	alone bool // measures time, or goroutines: nothing else may run
	run   func(*session)
}

// Cases returns all cases in the order in which they run.
func Cases() []Case {
	return slices.Concat(
		roundTripCases(), subscribeCases(), matchCases(), isolationCases(), goexitCases(), retryCases(), orderCases(),
		publishCases(), inputCases(), wireCases(), shutdownCases(), loadCases(), statsCases(), traceCases(),
		groupCases(), letterCases(), replayCases(), memoryCases(), secretCases(),
	)
}

// Run checks every promise against the harness's bus, each as a subtest. Cases
// that need what the bus lacks are skipped with the reason. It ends by logging a
// table of all cases.
//
// The cases run in parallel with each other, unless the harness says Serial.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if bad := h.problems(); len(bad) > 0 {
		t.Fatalf("eventbustest: Harness.%s", strings.Join(bad, "\neventbustest: Harness."))
	}
	h = h.withDefaults()
	t.Logf("eventbustest: seed %d; set it in the harness to repeat what was made up at random", h.Seed)
	sheet := newTable(h)
	t.Cleanup(func() { t.Log(sheet) }) // after the parallel subtests
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if f, lacking := h.Lacks.first(c.Need); lacking {
				sheet.set(c, "skip", fmt.Sprintf("%s: %s", f, h.Lacks[f]))
				t.Skipf("%s lacks %s: %s. The promise: %s", h.Name, f, h.Lacks[f], c.Why)
			}
			t.Cleanup(func() {
				if t.Failed() {
					sheet.set(c, "FAIL", "")
					t.Logf("broken promise (%s): %s", laws(c.Laws), c.Why)
					return
				}
				sheet.set(c, "pass", "")
			})
			if !h.Serial && !c.alone {
				t.Parallel()
			}
			c.run(newSession(t, h, c))
		})
	}
}

func laws(numbers []int) string {
	if len(numbers) == 0 {
		return "no law"
	}
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = fmt.Sprint(n)
	}
	return "law " + strings.Join(texts, ", ")
}
