package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// counts is the form of the last line.
func counts(passed, failed, skipped int) string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", passed, failed, skipped)
}

// end prints the table, the skipped tests and the totals, and returns the exit
// code.
func (s *summary) end() int {
	for _, p := range s.order {
		if p.outcome == "" { // go test itself was killed
			p.outcome = "fail"
			s.close(p, "")
		}
	}
	slices.SortFunc(s.order, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })

	s.say("\n")
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(w, "passed\tfailed\tskipped\tseconds\t  package\n")
	var passed, failed, skipped int
	var without []string
	for _, p := range s.order {
		passed, failed, skipped = passed+p.passed, failed+p.failed, skipped+p.skipped
		if p.none && p.failed == 0 {
			without = append(without, s.short(p.path))

			continue
		}
		_, _ = fmt.Fprintf(w, "%d\t%d\t%d\t%.1f\t  %s\n", p.passed, p.failed, p.skipped, p.elapsed, s.short(p.path))
	}
	_ = w.Flush() // what cannot be written cannot be told either
	if len(without) > 0 {
		s.say("without tests: %s\n", strings.Join(without, ", "))
	}
	if len(s.skips) > 0 {
		s.say("\nskipped:\n")
		for _, line := range s.skipLines() {
			s.say("  %s\n", line)
		}
	}
	if names := s.failures(); len(names) > 0 {
		s.say("\nfailed:\n  %s\n", strings.Join(names, "\n  "))
	}
	for path, b := range s.builds {
		if strings.TrimSpace(b.String()) != "" {
			s.say("build output of %s:\n%s", path, indent(b.String()))
		}
	}

	code := 0
	switch {
	case failed > 0 || s.broke:
		code = 1
	case passed+skipped == 0:
		s.say("\ntestsummary: no test ran\n")
		code = 1
	}
	if s.broke && failed == 0 { // never a line that looks like success
		failed = 1
	}
	s.say("\n%s\n", counts(passed, failed, skipped))

	return code
}

// skipLines tells each reason once: the tests of a package that give it.
func (s *summary) skipLines() []string {
	type cause struct{ path, reason string }
	tests := map[cause][]string{}
	for _, sk := range s.skips {
		c := cause{sk.path, sk.reason}
		tests[c] = append(tests[c], sk.test)
	}
	var lines []string
	for c, names := range tests {
		more := ""
		if n := len(names) - 1; n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		lines = append(lines, fmt.Sprintf("%s: %s (%s%s)", c.path, c.reason, names[0], more))
	}
	slices.Sort(lines)

	return lines
}

// failures names every failed leaf, and every package that failed without one.
func (s *summary) failures() []string {
	var names []string
	for _, p := range s.order {
		before := len(names)
		for _, t := range p.order {
			if t.outcome == "fail" && (!t.parent || !s.hasFailedChild(p, t)) {
				names = append(names, s.short(p.path)+" "+t.name)
			}
		}
		if p.outcome == "fail" && len(names) == before {
			names = append(names, s.short(p.path))
		}
	}

	return names
}
