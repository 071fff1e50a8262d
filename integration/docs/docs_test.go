package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/integration/docs"
)

const root = "../.."

// dependOnSources looks at each source file, so that go test does not answer
// from its cache after one changed: what a child process reads it does not see.
func dependOnSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "go.mod") {
			_, _ = os.Stat(path) // the look is what counts
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func library(t *testing.T) *docs.Library {
	t.Helper()
	l, err := docs.Load(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}

	return l
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	dependOnSources(t)
	l := library(t)
	pages, err := docs.Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) == 0 {
		t.Fatal("no Markdown file was found")
	}
	for _, problem := range docs.CheckLinks(root, pages) {
		t.Error(problem)
	}
	for _, page := range pages {
		for _, problem := range page.Problems {
			t.Error(problem)
		}
		known := docs.Context{}
		for i := range page.Snippets {
			s := &page.Snippets[i]
			switch {
			case s.Mark == "skip":
				t.Logf("not looked at: %s: %s", s.Where(), s.Reason)
			case s.IsProgram():
				docs.AddProgram(s, known)
				t.Run(strings.TrimPrefix(s.Where(), root+"/"), func(t *testing.T) {
					t.Parallel()
					for _, problem := range docs.CheckProgram(t.Context(), root, t.TempDir(), s) {
						t.Error(problem)
					}
				})
			default:
				for _, problem := range docs.CheckFragment(l, s, known) {
					t.Error(problem)
				}
			}
		}
	}
}

func TestDocComments(t *testing.T) {
	t.Parallel()
	dependOnSources(t)
	l := library(t)
	if len(l.Ours) == 0 {
		t.Fatal("no package was found")
	}
	for _, p := range l.Ours {
		snippets, err := docs.CommentSnippets(l, p)
		if err != nil {
			t.Error(err)

			continue
		}
		known := docs.Context{}
		for i := range snippets {
			s := &snippets[i]
			var problems []string
			if s.IsProgram() {
				s.Mark = "build" // a doc comment does not say what it prints: examples do
				docs.AddProgram(s, known)
				problems = docs.CheckProgram(t.Context(), root, t.TempDir(), s)
			} else {
				problems = docs.CheckFragment(l, s, known)
			}
			for _, problem := range problems {
				t.Errorf("%s\nin\n%s", problem, s.Text)
			}
		}
		t.Logf("%s: %d snippets", p.ImportPath, len(snippets))
	}
}

// The checker is worth nothing if it does not bite: each snippet here is wrong,
// or right, in one way.
func TestCheckFragment(t *testing.T) {
	t.Parallel()
	l := library(t)
	known := docs.Context{}
	for _, tc := range []struct{ name, text, says string }{
		{"a call", `doc, err := codec.JSON{MaxBytes: 10}.Encode(nil, event)`, ""},
		{"an unknown field", `c := codec.JSON{MaxByte: 10}`, "unknown field MaxByte"},
		{"an unknown function", `codec.Verify(nil)`, "undefined: codec.Verify"},
		{"a wrong argument", `codec.Check("x")`, `cannot use "x"`},
		{"an unknown type", `var o Order`, "undefined: Order"},
		{"a declaration", "type Order struct {\n\tcodec.Header\n\tItem string `json:\"item\"`\n}", ""},
		{"what was declared before", "o := Order{Item: \"tea\"}\no.EventID = \"e-1\"", ""},
		{"a field it has not", `o := Order{Itme: "tea"}`, "unknown field Itme"},
		{"a method on it", "func (o *Order) Total() int { return 3 }", ""},
		{"that method", "var o Order\nfmt.Println(o.Total())", ""},
		{"the type declared anew", "type Order struct{ codec.Header }", ""},
		{"its method is gone", "var o Order\nfmt.Println(o.Total())", "o.Total undefined"},
		{"an error that is returned", "if err := bus.Publish(ctx, created); err != nil {\n\treturn err\n}", ""},
		{"a return", "if done {\n\treturn\n}", ""},
		{"a return of something", "return codec.JSON{}", ""},
		{"a return of two things", "return codec.JSON{}, err", ""},
		{"any body", `h := func(ctx context.Context) error { ... }`, ""},
		{"imports and statements", "import m \"github.com/leat-go/leat/codec\"\n\nm.Check(nil)", ""},
		{"a wrong import", "import \"github.com/leat-go/leat/nowhere\"\n\nnowhere.Do()", "not there"},
		{"a file with a package", "package orders\n\nfunc F() { codec.Check(1) }", "cannot use 1"},
		{"no Go", "a -> b -> c", "expected"},
	} {
		problems := docs.CheckFragment(l, &docs.Snippet{File: "page.md", Line: 1, Text: tc.text + "\n"}, known)
		switch {
		case tc.says == "" && len(problems) > 0:
			t.Errorf("%s: %q", tc.name, problems)
		case tc.says != "" && !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, tc.says) }):
			t.Errorf("%s: %q does not say %q", tc.name, problems, tc.says)
		}
	}
}

func TestCheckProgram(t *testing.T) {
	t.Parallel()
	const head = "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\n\t\"github.com/leat-go/leat/codec\"\n)\n\n"
	output := func(s string) *string { return &s }
	for name, tc := range map[string]struct {
		snippet docs.Snippet
		says    string
	}{
		"right":          {docs.Snippet{Text: head + "func main() { fmt.Println(codec.DefaultMaxDepth, os.Args[1:]) }", Output: output("64 []\n")}, ""},
		"another output": {docs.Snippet{Text: head + "func main() { fmt.Println(codec.DefaultMaxDepth, os.Args[1:]) }", Output: output("65 []\n")}, `line 1 is written down as "65 []"`},
		"no build":       {docs.Snippet{Text: head + "func main() { fmt.Println(codec.Nothing, os.Args) }"}, "undefined: codec.Nothing"},
		"a failure":      {docs.Snippet{Text: head + "func main() { fmt.Println(codec.NoLimit); os.Exit(3) }"}, "exit status 3"},
		"not run":        {docs.Snippet{Mark: "build", Text: head + "func main() { fmt.Println(codec.NoLimit); os.Exit(3) }"}, ""},
		"internal":       {docs.Snippet{Text: "package main\n\nimport _ \"github.com/leat-go/leat/internal/wire\"\n\nfunc main() {}"}, "which readers cannot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems := docs.CheckProgram(t.Context(), root, t.TempDir(), &tc.snippet)
			switch {
			case tc.says == "" && len(problems) > 0:
				t.Errorf("%q", problems)
			case tc.says != "" && (len(problems) != 1 || !strings.Contains(problems[0], tc.says)):
				t.Errorf("%q does not say %q", problems, tc.says)
			}
		})
	}
}
