package main

import (
	"io"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	in := `goos: linux
pkg: github.com/leat-go/leat/codec
cpu: x
BenchmarkEncode/leat-2   	 100	  200.0 ns/op	  512 B/op	  2 allocs/op
BenchmarkEncode/leat-2   	 100	  900.0 ns/op	  512 B/op	  2 allocs/op
BenchmarkEncode/leat-2   	 100	  250.0 ns/op	  512 B/op	  2 allocs/op
BenchmarkEncode/std/by-name-2	  50	  500.0 ns/op	 10.00 MB/s	 1024 B/op	 4 allocs/op
BenchmarkLone-2          	   9	 1000000 ns/op
PASS
ok  	github.com/leat-go/leat/codec	2.0s
?   	github.com/leat-go/leat/x	[no test files]
`
	want := `
codec
    ns/op  B/op  allocs/op  ratio  
      250   512          2  1.00x  Encode/leat
      500  1024          4  2.00x  Encode/std/by-name  (10.0 MB/s)
  1000000     0          0         Lone
`
	var out strings.Builder
	if code := run(strings.NewReader(in), &out, io.Discard); code != 0 || out.String() != want {
		t.Errorf("exit code %d, got\n%q\nwant\n%q", code, out.String(), want)
	}
}

func TestRun_Failures(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"a failing benchmark": "pkg: p\nBenchmarkA-2 1 5 ns/op\n--- FAIL: BenchmarkB\n    b.go:1: broken\nFAIL\n",
		"no build":            "# p\n./x.go:1:1: broken\nFAIL	p [build failed]\n",
		"nothing":             "PASS broken\n",
	} {
		var out strings.Builder
		if code := run(strings.NewReader(in), &out, io.Discard); code != 1 {
			t.Errorf("%s: exit code %d, want 1: %s", name, code, out.String())
		}
		if name != "nothing" && !strings.Contains(out.String(), "broken") {
			t.Errorf("%s: the reason is lost: %s", name, out.String())
		}
	}
}
