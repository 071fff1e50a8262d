package docs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	text := strings.Join([]string{
		"# Title with `code` & more", // 1
		"",
		"See [one](a.md), ![two](img/b.png \"t\"), [out](https://example.test/x), [here](#title) and `[no](link.md)`.", // 3
		"[ref]: sub/c.md",
		"```go", // 5
		"a := 1 // [not](a-link.md)",
		"```",
		"",
		"```text output", // 9
		"1",
		"```",
		"<!-- snippet: skip, an idea -->", // 12
		"",
		"~~~go",
		"b",
		"~~~",
		"```sh",
		"make",
		"```",
		"## Title",
		"## Title",
	}, "\n")

	p := parse("p.md", text)

	output := "1\n"
	want := []Snippet{
		{File: "p.md", Line: 6, Text: "a := 1 // [not](a-link.md)\n", Output: &output},
		{File: "p.md", Line: 15, Text: "b\n", Mark: "skip", Reason: "an idea"},
	}
	if !reflect.DeepEqual(p.Snippets, want) {
		t.Errorf("snippets %+v, want %+v", p.Snippets, want)
	}
	if want := []Link{{3, "a.md"}, {3, "img/b.png"}, {3, "#title"}, {4, "sub/c.md"}}; !reflect.DeepEqual(p.Links, want) {
		t.Errorf("links %+v, want %+v", p.Links, want)
	}
	if want := map[string]bool{"title-with-code--more": true, "title": true, "title-1": true}; !reflect.DeepEqual(p.Anchors, want) {
		t.Errorf("anchors %v, want %v", p.Anchors, want)
	}
	if len(p.Problems) > 0 {
		t.Errorf("problems %q", p.Problems)
	}
}

func TestParse_Problems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"```go\nx":                              "p.md:1: a fence that is never closed",
		"<!-- snippet: skip -->\n```go\n```":    `p.md:1: a snippet mark is "build, REASON"`,
		"<!-- snippet: run, x -->\n```go\n```":  `p.md:1: a snippet mark is "build, REASON"`,
		"<!-- snippet: skip, x -->\ntext":       "p.md:2: a snippet mark that no Go fence follows",
		"<!-- snippet: skip, x -->\n```sh\n```": "p.md:2: a snippet mark that no Go fence follows",
		"```go\n```\ntext\n```text output\n```": "p.md:4: an output that no Go snippet precedes",
	} {
		p := parse("p.md", text)
		if len(p.Problems) != 1 || !strings.HasPrefix(p.Problems[0], want) {
			t.Errorf("%q: problems %q, want %q", text, p.Problems, want)
		}
	}
}

func TestCheckLinks(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"README.md":    "# Start\n[ok](docs/a.md) [ok](docs/) [ok](/docs/a.md#part-one) [ok](#start) [ok](docs/a%20b.txt)",
		"docs/a.md":    "# Part One\n[ok](../README.md#start)",
		"docs/a b.txt": "",
		"docs/bad.md":  "[x](nowhere.md) [x](a.md#part-two) [x](#none) [x](../../etc/passwd)",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pages, err := Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	got := CheckLinks(root, pages)
	want := []string{
		`link to "nowhere.md": does not exist`, `link to "a.md#part-two": has no such heading`,
		`link to "#none": has no such heading`, `link to "../../etc/passwd": leads out of the repository`,
	}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if !strings.HasSuffix(got[i], want[i]) || !strings.Contains(got[i], "bad.md:1: ") {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func TestSameOutput(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		want, got string
		same      bool
	}{
		{"a\nb\n", "a\nb", true},
		{"a", "b", false},
		{"a", "a\nb", false},
		{"a\nb", "a", false},
		{"took ... ms", "took 3.1 ms", true},
		{"took ... ms", "took 3.1 s", false},
		{"a\n...\nz", "a\nb\nc\nz", true},
		{"a\n...\nz", "a\nz", true},
		{"a\n...\nz", "a\nb", false},
		{"...", "", true},
		{"(x) [...]", "(x) [1]", true},
	} {
		if got := sameOutput(tc.want, tc.got) == ""; got != tc.same {
			t.Errorf("%q against %q: same %v, want %v: %s", tc.want, tc.got, got, tc.same, sameOutput(tc.want, tc.got))
		}
	}
}
