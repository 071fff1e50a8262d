package eventbustest

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ShowLacks proves what the harness says its bus lacks: for each feature it
// runs the cases that need it all the same, and fails when none of them fails.
// Then the bus has learned it, and the entry in Lacks is to be removed.
//
// Waits that must fail are given patience each; a few seconds are enough.
func ShowLacks(t *testing.T, h Harness, patience time.Duration) {
	t.Helper()
	h = h.withDefaults()
	h.Patience = patience
	for _, f := range slices.Sorted(maps.Keys(h.Lacks)) {
		t.Run(string(f), func(t *testing.T) {
			if h.cannotTry(f) {
				t.Skipf("the harness has no means to try %s: %s", f, h.Lacks[f])
			}
			shown, tried := h.shows(t, f)
			switch {
			case shown != "":
				t.Logf("%s lacks %s (%s), as %s", h.Name, f, h.Lacks[f], shown)
			case len(tried) == 0:
				t.Errorf("no case needs %s: nothing can show that %s lacks it", f, h.Name)
			default:
				t.Errorf("%s passes %v: it does not lack %s any more (%q); remove that from its Lacks", h.Name, tried, f, h.Lacks[f])
			}
		})
	}
}

// shows runs the cases that need the feature, up to the first that fails, and
// returns what that one said.
func (h Harness) shows(t *testing.T, f Feature) (shown string, tried []string) {
	t.Helper()
	for _, c := range casesThatNeed(f, h.Lacks) {
		if failures := probe(t, without(h, f), c); len(failures) > 0 {
			return c.Name + " shows: " + failures[0], tried
		}
		tried = append(tried, c.Name)
	}
	return "", tried
}

// cannotTry tells that the harness itself, and not the bus, lacks the feature.
func (h Harness) cannotTry(f Feature) bool {
	return f == Injection && h.Inject == nil || f == ForeignEntries && h.InjectForeign == nil || f == Secrets && len(h.Secrets) == 0
}

// casesThatNeed returns the cases that need the feature; those that need
// nothing else that is lacking come first.
func casesThatNeed(f Feature, lacks Lacks) []Case {
	var clean, mixed []Case
	for _, c := range Cases() {
		if !slices.Contains(c.Need, f) {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(c.Need), func(n Feature) bool { return n == f })
		if _, also := lacks.first(others); also {
			mixed = append(mixed, c)
		} else {
			clean = append(clean, c)
		}
	}
	if len(clean) > 0 {
		return clean
	}
	return mixed
}

// without returns the harness as if the bus had the feature.
func without(h Harness, f Feature) Harness {
	h.Lacks = maps.Clone(h.Lacks)
	delete(h.Lacks, f)
	return h
}

// probe runs one case and returns what it complained of; nothing when it
// passed. It does not fail t.
func probe(t *testing.T, h Harness, c Case) []string {
	t.Helper()
	p := &probeTB{T: t, name: t.Name() + "/" + c.Name}
	ctx, cancel := context.WithCancel(t.Context())
	p.ctx = ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				p.Errorf("panic: %v", r)
			}
		}()
		c.run(newSession(p, h, c))
	}()
	<-done
	cancel()
	p.cleanUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.skipped {
		return append(p.failures, "skipped")
	}
	return slices.Clone(p.failures)
}

// probeTB is a testing.TB whose failures are nobody's.
type probeTB struct {
	*testing.T
	name string
	ctx  context.Context //nolint:containedctx // testing.TB hands it out

	mu       sync.Mutex
	failures []string
	failed   bool
	skipped  bool
	cleanups []func()
}

var _ testing.TB = (*probeTB)(nil)

func (p *probeTB) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = true
	if text = strings.TrimSpace(text); text != "" {
		p.failures = append(p.failures, text)
	}
}

func (p *probeTB) Name() string             { return p.name }
func (p *probeTB) Context() context.Context { return p.ctx }
func (p *probeTB) Helper()                  {}
func (p *probeTB) Log(...any)               {}
func (p *probeTB) Logf(string, ...any)      {}
func (p *probeTB) Fail()                    { p.note("failed") }
func (p *probeTB) FailNow()                 { p.note("failed"); runtime.Goexit() }
func (p *probeTB) Error(args ...any)        { p.note(fmt.Sprintln(args...)) }
func (p *probeTB) Fatal(args ...any)        { p.note(fmt.Sprintln(args...)); runtime.Goexit() }
func (p *probeTB) Skip(args ...any)         { p.skip() }
func (p *probeTB) Skipf(string, ...any)     { p.skip() }
func (p *probeTB) SkipNow()                 { p.skip() }

func (p *probeTB) Errorf(format string, args ...any) { p.note(fmt.Sprintf(format, args...)) }

func (p *probeTB) Fatalf(format string, args ...any) {
	p.note(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (p *probeTB) skip() {
	p.mu.Lock()
	p.skipped = true
	p.mu.Unlock()
	runtime.Goexit()
}

func (p *probeTB) Skipped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.skipped
}

func (p *probeTB) Failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *probeTB) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

// cleanUp runs the cleanups, the last first, each on a goroutine so that one
// that fails does not end the others.
func (p *probeTB) cleanUp() {
	for {
		p.mu.Lock()
		n := len(p.cleanups)
		if n == 0 {
			p.mu.Unlock()
			return
		}
		f := p.cleanups[n-1]
		p.cleanups = p.cleanups[:n-1]
		p.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			f()
		}()
		<-done
	}
}
