// Package leaktest fails a test binary that leaves goroutines behind.
package leaktest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main runs the tests of a package and then waits for their goroutines to
// end; those still there after five seconds are printed, and the run fails.
// Goroutines whose stack contains one of the ignored texts do not count.
// Use it as TestMain's body: leaktest.Main(m).
func Main(m *testing.M, ignore ...string) {
	code := m.Run()
	if left := wait(5*time.Second, ignore); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: %d goroutines left after the tests:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// Check is for one test: it fails t at its end when goroutines that were not
// there at the call are still there five seconds after it.
func Check(t testing.TB, ignore ...string) {
	t.Helper()
	before := map[string]bool{}
	for _, g := range goroutines(nil) {
		before[id(g)] = true
	}
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		for {
			var left []string
			for _, g := range goroutines(ignore) {
				if !before[id(g)] {
					left = append(left, g)
				}
			}
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines left:\n\n%s", len(left), strings.Join(left, "\n\n"))
				return
			}
			<-time.After(10 * time.Millisecond)
		}
	})
}

func wait(limit time.Duration, ignore []string) []string {
	deadline := time.Now().Add(limit)
	for {
		left := goroutines(ignore)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		<-time.After(10 * time.Millisecond)
	}
}

func id(stack string) string {
	head, _, _ := strings.Cut(stack, " [")
	return head
}

// goroutines returns the stacks of all goroutines but the caller's and those
// that the runtime and the testing package own.
func goroutines(ignore []string) []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var out []string
next:
	for _, g := range strings.Split(string(buf), "\n\n")[1:] {
		for _, own := range append([]string{
			"testing.(*M).", "testing.tRunner(", "testing.(*T).Run(", "testing.runFuzzing(", "runtime.goexit0",
			"os/signal.signal_recv", "os/signal.loop", "runtime/trace.Start", "testing.(*F).Fuzz",
		}, ignore...) {
			if strings.Contains(g, own) {
				continue next
			}
		}
		out = append(out, g)
	}
	return out
}
