package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// check is what the tally says about the question of the run: was every
// accepted event handled exactly once by every handler that wants it?
type check struct {
	events, runs int
	repeated     int      // runs after the first, of what a crashed process had handled already
	elsewhere    int      // runs that other processes of the group must have done
	problems     []string // all else
}

// check compares. Runs that are missing are no problem when elsewhere says that
// other processes took part and the group has acknowledged everything.
func (t *tally) check(elsewhere bool) check {
	events, runs := t.counts()
	k := check{events: events, runs: runs}
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, c := range t.events {
		for i, name := range t.wants[c.typ] {
			switch by := c.runs[i]; {
			case len(by) == 1:
			case len(by) == 0 && c.dead[i]:
				k.problems = append(k.problems, fmt.Sprintf("%s of order %s: %s gave up on it; it is a dead letter (event %s)", c.typ, c.order, name, id))
			case len(by) == 0 && elsewhere:
				k.elsewhere++
			case t.excused(by):
				k.repeated += len(by) - 1
			default:
				k.problems = append(k.problems, fmt.Sprintf("%s of order %s: %s handled it %d times (event %s)", c.typ, c.order, name, len(by), id))
			}
		}
	}
	slices.Sort(k.problems)
	return k
}

// excused reports whether crashes explain why several processes have handled
// the same: each did so once, and all but one at most have crashed.
func (t *tally) excused(by []int) bool {
	living, seen := 0, map[int]bool{}
	for _, process := range by {
		if seen[process] {
			return false
		}
		seen[process] = true
		if !t.by[process].crashed {
			living++
		}
	}
	return len(by) > 0 && living <= 1
}

// tell writes the verdict and returns the exit code.
func (k check) tell(out, errw io.Writer, crashed, others []string) int {
	if len(k.problems) > 0 {
		fmt.Fprintf(errw, "Check FAILED: of %s accepted events, these were not handled exactly once by every handler that wants them:\n", thousands(k.events))
		const shown = 10
		for i, p := range k.problems {
			if i == shown {
				fmt.Fprintf(errw, "  and %s more\n", thousands(len(k.problems)-shown))
				break
			}
			fmt.Fprintln(errw, "  "+p)
		}
		fmt.Fprintln(errw, "Events that were handled 0 times may be with another consumer of the group, or still wait on the topic.")
		return 1
	}
	exactly, by := "exactly once ", ""
	if k.repeated > 0 {
		exactly = ""
	}
	if k.elsewhere > 0 {
		exactly, by = "", ", as far as can be seen here"
	}
	fmt.Fprintf(out, "Check: all %s accepted events were handled %sby every handler that wants them%s (%s runs).\n", thousands(k.events), exactly, by, thousands(k.runs))
	switch {
	case k.repeated > 0:
		fmt.Fprintf(out, "Handled more than once because of the crash: %s runs were repeated, for %s ended before it could acknowledge them.\n", thousands(k.repeated), strings.Join(crashed, ", "))
	case len(crashed) > 0:
		fmt.Fprintf(out, "Nothing was handled more than once, although %s ended before its time.\n", strings.Join(crashed, ", "))
	}
	if k.elsewhere > 0 {
		fmt.Fprintf(out, "Not seen here: %s runs. The group has acknowledged everything, so these were done by its other consumers: %s.\n", thousands(k.elsewhere), strings.Join(others, ", "))
	}
	return 0
}
