package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// maxOutput limits what is kept of one test that may still fail.
const maxOutput = 256 << 10

// test is one test that has started.
type test struct {
	name    string
	began   time.Time
	outcome string // "", "pass", "fail", "skip"
	parent  bool   // has subtests
	why     string // the first line that tells what failed
	output  strings.Builder
}

// pkg is one package under test.
type pkg struct {
	path    string
	tests   map[string]*test
	order   []*test
	output  strings.Builder // of the package itself, and of tests that do not end
	outcome string
	elapsed float64
	none    bool // no test files
	cached  bool
	passed  int
	failed  int
	skipped int
}

// skip is a test that did not run.
type skip struct{ path, test, reason string }

// summary is the state of one run.
type summary struct {
	out     io.Writer
	now     func() time.Time
	pkgs    map[string]*pkg
	order   []*pkg
	builds  map[string]*strings.Builder
	strip   string // the module's path, cut off what is shown
	skips   []skip
	broke   bool
	strange int // lines that are not of go test
}

func newSummary(out io.Writer, now func() time.Time) *summary {
	return &summary{out: out, now: now, pkgs: map[string]*pkg{}, builds: map[string]*strings.Builder{}, strip: "github.com/leat-go/leat/"}
}

func (s *summary) say(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format, args...) }

// foreign passes a line through that is not an event.
func (s *summary) foreign(line string) {
	if strings.TrimSpace(line) != "" {
		s.strange++
		s.say("%s", strings.TrimSuffix(line, "\n")+"\n")
	}
}

// broken notes a failure of the run itself.
func (s *summary) broken(text string) {
	s.broke = true
	s.say("%s\n", text)
}

func (s *summary) add(e event) {
	switch e.Action {
	case "build-output":
		b := s.builds[e.ImportPath]
		if b == nil {
			b = &strings.Builder{}
			s.builds[e.ImportPath] = b
		}
		b.WriteString(e.Output)
	case "build-fail":
		s.broke = true
		if b := s.builds[e.ImportPath]; b != nil {
			s.say("BUILD FAILED %s\n%s", e.ImportPath, indent(b.String()))
			delete(s.builds, e.ImportPath)
		}
	default:
		if e.Package == "" {
			return
		}
		p := s.pkg(e.Package)
		if e.Test == "" {
			s.addPackage(p, e)
		} else {
			s.addTest(p, e)
		}
	}
}

func (s *summary) pkg(path string) *pkg {
	p := s.pkgs[path]
	if p == nil {
		p = &pkg{path: path, tests: map[string]*test{}}
		s.pkgs[path] = p
		s.order = append(s.order, p)
	}

	return p
}

func (s *summary) addTest(p *pkg, e event) {
	t := p.tests[e.Test]
	if t == nil {
		t = &test{name: e.Test, began: s.now()}
		p.tests[e.Test] = t
		p.order = append(p.order, t)
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			if up := p.tests[e.Test[:i]]; up != nil {
				up.parent = true
			}
		}
	}
	switch e.Action {
	case "output":
		if t.output.Len() < maxOutput && !frame(e.Output) {
			t.output.WriteString(e.Output)
		}
	case "pass", "skip", "fail":
		t.outcome = e.Action
		if e.Action == "fail" {
			t.why = firstCause(t.output.String())
		}
		switch {
		case e.Action == "fail" && strings.TrimSpace(t.output.String()) != "":
			s.say("--- FAIL %s %s (%.1f s)\n%s", s.short(p.path), t.name, e.Elapsed, indent(t.output.String()))
		case e.Action == "skip":
			s.skips = append(s.skips, skip{s.short(p.path), t.name, reason(t.output.String())})
		}
		t.output = strings.Builder{} // a passed test's output is of no use any more
	}
}

func (s *summary) addPackage(p *pkg, e event) {
	switch e.Action {
	case "output":
		if strings.Contains(e.Output, "[no test files]") {
			p.none = true
		}
		if strings.HasPrefix(e.Output, "ok") && strings.Contains(e.Output, "(cached)") {
			p.cached = true
		}
		if p.output.Len() < maxOutput && !chatter(e.Output) {
			p.output.WriteString(e.Output)
		}
	case "pass", "skip", "fail":
		p.outcome, p.elapsed = e.Action, e.Elapsed
		s.close(p, e.FailedBuild)
	}
}

// close counts a package's tests and tells how it went.
func (s *summary) close(p *pkg, failedBuild string) {
	for _, t := range p.order {
		if t.outcome != "" {
			continue
		}
		// It started and never ended: a panic, a time-out, an os.Exit.
		t.outcome, p.outcome = "fail", "fail"
		t.why = cmp.Or(firstCause(t.output.String()), "did not finish")
		if !t.parent || t.output.Len() > 0 {
			s.say("--- FAIL %s %s: did not finish\n%s", s.short(p.path), t.name, indent(t.output.String()))
		}
	}
	for _, t := range p.order {
		switch {
		case t.parent && t.outcome != "fail":
		case t.parent && s.hasFailedChild(p, t): // its subtests tell
		case t.outcome == "fail":
			p.failed++
		case t.outcome == "skip":
			p.skipped++
		default:
			p.passed++
		}
	}
	switch {
	case p.outcome == "fail":
		if p.failed == 0 { // the package itself: TestMain, a race, a leak, no build
			p.failed = 1
		}
		if text := p.output.String(); strings.TrimSpace(text) != "" && failedBuild == "" {
			s.say("%s", indent(text))
		}
		s.say("FAIL  %s (%.1f s)%s\n", s.short(p.path), p.elapsed, ifText(failedBuild != "", ": did not build"))
		s.because(p)
	case p.none || len(p.order) == 0:
		p.none = true
	default:
		s.say("ok    %s: %s (%.1f s%s)\n", s.short(p.path), counts(p.passed, p.failed, p.skipped), p.elapsed, ifText(p.cached, ", cached"))
	}
	p.output = strings.Builder{}
}

// because tells in a line each what made a package fail: its output above may be
// longer than what somebody keeps of it.
func (s *summary) because(p *pkg) {
	for _, t := range p.order {
		if t.outcome == "fail" && (!t.parent || !s.hasFailedChild(p, t)) {
			s.say("        %s: %s\n", t.name, cmp.Or(t.why, "see above"))
		}
	}
}

func (s *summary) hasFailedChild(p *pkg, parent *test) bool {
	return slices.ContainsFunc(p.order, func(t *test) bool {
		return strings.HasPrefix(t.name, parent.name+"/") && t.outcome == "fail"
	})
}

// stillRunning tells what a long silence is spent on.
func (s *summary) stillRunning() {
	for _, p := range s.order {
		if p.outcome != "" {
			continue
		}
		var longest *test
		for _, t := range p.order {
			if t.outcome == "" && (longest == nil || !t.began.Before(longest.began)) {
				longest = t // the innermost: it started last
			}
		}
		if longest != nil {
			s.say("...   %s: %s runs for %.0f s\n", s.short(p.path), longest.name, s.now().Sub(longest.began).Seconds())
		} else {
			s.say("...   %s: runs\n", s.short(p.path))
		}
	}
}

func (s *summary) short(path string) string {
	if path == strings.TrimSuffix(s.strip, "/") {
		return "."
	}

	return strings.TrimPrefix(path, s.strip)
}

// frame reports a line that go test writes around a test, not the test itself.
func frame(line string) bool {
	l := strings.TrimSpace(line)
	for _, prefix := range []string{"=== RUN", "=== PAUSE", "=== CONT", "=== NAME", "--- PASS:", "--- FAIL:", "--- SKIP:"} {
		if strings.HasPrefix(l, prefix) {
			return true
		}
	}

	return false
}

// chatter reports a line that only repeats a package's outcome.
func chatter(line string) bool {
	l := strings.TrimSpace(line)

	return l == "PASS" || l == "FAIL" || strings.HasPrefix(l, "ok ") || strings.HasPrefix(l, "ok\t") ||
		strings.HasPrefix(l, "FAIL\t") || strings.HasPrefix(l, "exit status ") || strings.HasPrefix(l, "coverage: ") ||
		strings.Contains(l, "[no test files]") || strings.HasPrefix(l, "?   \t")
}

// firstCause is the first line of a test's output that tells of a failure.
func firstCause(output string) string {
	for line := range strings.Lines(output) {
		if l := strings.TrimSpace(line); strings.Contains(l, "_test.go:") || strings.Contains(l, "DATA RACE") || strings.HasPrefix(l, "panic:") {
			return l
		}
	}

	return ""
}

// reason is the last line that a skipped test wrote, without file and line.
func reason(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if _, text, ok := strings.Cut(last, ".go:"); ok {
		if _, text, ok = strings.Cut(text, ": "); ok {
			last = text
		}
	}
	if last == "" {
		return "no reason given"
	}

	return last
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("      " + strings.TrimSuffix(line, "\n") + "\n")
	}

	return b.String()
}

func ifText(cond bool, text string) string {
	if cond {
		return text
	}

	return ""
}
