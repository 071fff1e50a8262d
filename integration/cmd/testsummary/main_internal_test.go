package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// summarize runs go test -json on a module of the given files and returns what
// run makes of it: real output of the real tool.
func summarize(t *testing.T, files map[string]string, flags ...string) (string, int) {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.test/m\n\ngo 1.26\n"
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, append(flags, "./...")...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output() // its failure is what some cases are about
	if len(out) == 0 {
		t.Fatalf("go test wrote nothing: %v", err)
	}
	var b strings.Builder
	code := run(strings.NewReader(string(out)), &b, 0)

	return b.String(), code
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")

	return lines[len(lines)-1]
}

func TestSummary(t *testing.T) {
	t.Parallel()
	const head = "package a\nimport (\n\"fmt\"\n\"os\"\n\"testing\"\n)\nvar _ = fmt.Sprint\nvar _ = os.Exit\n"
	for name, tc := range map[string]struct {
		files map[string]string
		flags []string
		last  string
		code  int
		has   []string
		hasNo []string
	}{
		"passes, skips and packages without tests": {
			files: map[string]string{
				"a/a_test.go": head + `
func TestA(t *testing.T) { fmt.Println("noise"); t.Run("x", func(*testing.T) {}); t.Run("y", func(t *testing.T) { t.Skip("needs redis: set LEAT_X") }) }
func TestB(t *testing.T) {}
func Example_c() { fmt.Println(1)
// Output: 1
}
`,
				"b/b.go": "package b\n",
			},
			last:  "3 passed, 0 failed, 1 skipped",
			has:   []string{"ok    example.test/m/a: 3 passed, 0 failed, 1 skipped", "skipped:\n  example.test/m/a: needs redis: set LEAT_X (TestA/y)", "without tests: example.test/m/b"},
			hasNo: []string{"noise", "FAIL", "=== RUN"},
		},
		"a failing subtest counts once and shows its output": {
			files: map[string]string{"a/a_test.go": head + `
func TestA(t *testing.T) { t.Run("x", func(t *testing.T) { t.Error("broken thing") }); t.Run("y", func(*testing.T) {}) }
`},
			last:  "1 passed, 1 failed, 0 skipped",
			code:  1,
			has:   []string{"broken thing", "failed:\n  example.test/m/a TestA/x\n", "FAIL  example.test/m/a", "\n        TestA/x: a_test.go:10: broken thing\n"},
			hasNo: []string{"example.test/m/a TestA\n"},
		},
		"a test that fails beside its subtests": {
			files: map[string]string{"a/a_test.go": head + `
func TestA(t *testing.T) { t.Run("x", func(t *testing.T) {}); t.Error("own failure") }
`},
			last: "1 passed, 1 failed, 0 skipped",
			code: 1,
			has:  []string{"own failure", "failed:\n  example.test/m/a TestA\n"},
		},
		"a panic": {
			files: map[string]string{"a/a_test.go": head + `
func TestA(t *testing.T) {}
func TestB(t *testing.T) { panic("went wrong") }
func TestC(t *testing.T) {}
`},
			last: "1 passed, 1 failed, 0 skipped",
			code: 1,
			has:  []string{"panic: went wrong", "goroutine ", "\n        TestB: panic: went wrong", "failed:\n  example.test/m/a TestB\n"},
		},
		"an exit in the middle": {
			files: map[string]string{"a/a_test.go": head + `
func TestA(t *testing.T) { os.Exit(3) }
`},
			last: "0 passed, 1 failed, 0 skipped",
			code: 1,
			has:  []string{"example.test/m/a TestA"},
		},
		"a time-out": {
			files: map[string]string{"a/a_test.go": head + `
func TestA(t *testing.T) { t.Run("hangs", func(t *testing.T) { <-make(chan int) }) }
var _ = func() bool { go func() { select {} }(); return true }()
`},
			flags: []string{"-timeout=1s"},
			last:  "0 passed, 1 failed, 0 skipped",
			code:  1,
			has:   []string{"panic: test timed out after 1s", "TestA/hangs"},
		},
		"a failing TestMain": {
			files: map[string]string{"a/a_test.go": head + `
func TestMain(m *testing.M) { m.Run(); fmt.Println("3 goroutines left"); os.Exit(1) }
func TestA(t *testing.T) {}
`},
			last: "1 passed, 1 failed, 0 skipped",
			code: 1,
			has:  []string{"3 goroutines left", "failed:\n  example.test/m/a\n"},
		},
		"no build": {
			files: map[string]string{
				"a/a_test.go": head + "func TestA(t *testing.T) { undefinedThing() }\n",
				"b/b_test.go": "package b\nimport \"testing\"\nfunc TestB(t *testing.T) {}\n",
			},
			last: "1 passed, 1 failed, 0 skipped",
			code: 1,
			has:  []string{"undefined: undefinedThing", "FAIL  example.test/m/a (0.0 s): did not build"},
		},
		"no syntax": {
			files: map[string]string{"a/a.go": "package a\n", "a/a_test.go": "package a\nfunc {\n"},
			last:  "0 passed, 1 failed, 0 skipped",
			code:  1,
			has:   []string{"a_test.go:2"},
		},
		"vet": {
			files: map[string]string{"a/a_test.go": head + "func TestA(t *testing.T) { fmt.Printf(\"%d\", \"x\") }\n"},
			last:  "0 passed, 1 failed, 0 skipped",
			code:  1,
			has:   []string{"wrong type string"},
		},
		"nothing to run": {
			files: map[string]string{"a/a.go": "package a\n"},
			last:  "0 passed, 0 failed, 0 skipped",
			code:  1,
			has:   []string{"no test ran"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, code := summarize(t, tc.files, tc.flags...)
			if got := lastLine(out); got != tc.last {
				t.Errorf("last line %q, want %q", got, tc.last)
			}
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, want := range tc.has {
				if !strings.Contains(out, want) {
					t.Errorf("does not say %q", want)
				}
			}
			for _, not := range tc.hasNo {
				if strings.Contains(out, not) {
					t.Errorf("says %q", not)
				}
			}
			if t.Failed() {
				t.Logf("the whole:\n%s", out)
			}
		})
	}
}

func TestSummary_Race(t *testing.T) {
	t.Parallel()
	out, code := summarize(t, map[string]string{"a/a_test.go": `package a
import "testing"
func TestA(t *testing.T) {
	n, done := 0, make(chan bool)
	go func() { n++; close(done) }()
	n++
	<-done
}
`}, "-race")
	if strings.Contains(out, "-race requires cgo") {
		t.Skip("the race detector needs a C compiler: install gcc")
	}
	if code != 1 || lastLine(out) != "0 passed, 1 failed, 0 skipped" || !strings.Contains(out, "WARNING: DATA RACE") {
		t.Errorf("exit code %d, output:\n%s", code, out)
	}
}

func TestSummary_InputThatIsNotOfGoTest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   string
		last string
		code int
		has  string
	}{
		"nothing":    {"", "0 passed, 0 failed, 0 skipped", 1, "no test ran"},
		"plain text": {"go: no such tool\n{\"a\":1}\n", "0 passed, 0 failed, 0 skipped", 1, "go: no such tool\n{\"a\":1}\n"},
		"cut off": {
			`{"Action":"start","Package":"p"}` + "\n" + `{"Action":"run","Package":"p","Test":"TestA"}` + "\n",
			"0 passed, 1 failed, 0 skipped", 1, "p TestA: did not finish",
		},
		"a line of 3 MB": {
			`{"Action":"output","Package":"p","Test":"TestA","Output":"` + strings.Repeat("x", 3<<20) + `"}` + "\n" +
				`{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"pass","Package":"p"}`,
			"1 passed, 0 failed, 0 skipped", 0, "ok    p",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			code := run(strings.NewReader(tc.in), &b, 0)
			if code != tc.code || lastLine(b.String()) != tc.last || !strings.Contains(b.String(), tc.has) {
				t.Errorf("exit code %d, want %d; output:\n%s", code, tc.code, b.String())
			}
		})
	}
}

func TestSummary_SaysWhatRunsLong(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var b strings.Builder
	s := newSummary(&b, func() time.Time { return now })
	s.add(event{Action: "run", Package: "github.com/leat-go/leat/router", Test: "TestSlow"})
	now = now.Add(45 * time.Second)
	s.stillRunning()
	if want := "...   router: TestSlow runs for 45 s\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
