package main

import (
	"io"
	"os"
	"path/filepath"
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
	if code := run(strings.NewReader(in), &out, io.Discard, "", ""); code != 0 || out.String() != want {
		t.Errorf("exit code %d, got\n%q\nwant\n%q", code, out.String(), want)
	}
}

func TestRun_WritesThePageAndTheReadmesPart(t *testing.T) {
	t.Parallel()
	in := `cpu: AMD EPYC
pkg: github.com/leat-go/leat/codec
BenchmarkEncode-2  100  1200 ns/op  512 B/op  2 allocs/op
pkg: github.com/leat-go/leat/eventbus/redisbus
BenchmarkPublish-2  1  0 ns/op  85010.4 leat/s  12.04 x-stock  9.5 low-stock  14.2 high-stock  0.971 x-raw  0.2 cpu-stock  0.31 allocs-stock
BenchmarkPublish_800us-2  1  0 ns/op  42000 leat/s  52.19 x-stock
BenchmarkLatency-2  1  0 ns/op  0.01 p99-of-stock
`
	dir := t.TempDir()
	page, readme := filepath.Join(dir, "benchmarks.md"), filepath.Join(dir, "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+begins+"\nold\n"+ends+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(strings.NewReader(in), io.Discard, io.Discard, page, readme); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	whole, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"AMD EPYC, ",
		"## codec\n", "| Encode | 1,200 ns |  |  | 2 |\n",
		"## eventbus/redisbus\n", "| Publish | 85,010/s | 12x stock (9.5-14), 0.97x raw | 0.2 of stock | 0.31 of stock |\n",
		"| Publish_800us | 42,000/s | 52x stock |  |  |\n", "| Latency | 0.01 p99-of-stock |  |  | 0 |\n",
	} {
		if !strings.Contains(string(whole), want) {
			t.Errorf("the page has no %q:\n%s", want, whole)
		}
	}
	part, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	row := "| redisbus: Publish | 85,010 | 12x stock (9.5-14), 0.97x raw |\n"
	if s := string(part); !strings.HasPrefix(s, "before\n"+begins+"\nAMD EPYC, ") || !strings.HasSuffix(s, row+ends+"\nafter\n") || strings.Contains(s, "old") {
		t.Errorf("the README is now\n%s", part)
	}
	if err := os.WriteFile(readme, []byte("no place for it\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(strings.NewReader(in), io.Discard, io.Discard, page, readme); code != 1 {
		t.Errorf("a README without the part: exit code %d, want 1", code)
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
		if code := run(strings.NewReader(in), &out, io.Discard, "", ""); code != 1 {
			t.Errorf("%s: exit code %d, want 1: %s", name, code, out.String())
		}
		if name != "nothing" && !strings.Contains(out.String(), "broken") {
			t.Errorf("%s: the reason is lost: %s", name, out.String())
		}
	}
}
