package docs_test

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/integration/docs"
)

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", name))
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

var firstCell = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// section returns what is below a heading, up to the next one.
func section(page, title string) string {
	_, rest, _ := strings.Cut(page, "\n## "+title+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")

	return rest
}

func listed(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range firstCell.FindAllStringSubmatch(text, -1) {
		out[m[1]] = true
	}

	return out
}

// Every name of ours that a page mentions as `package.Name` exists.
func TestPages_NameWhatExists(t *testing.T) {
	t.Parallel()
	dependOnSources(t)
	l := library(t)
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, page := range append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		unknown, err := docs.UnknownSymbols(l, string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range unknown {
			t.Errorf("%s: nothing is called %s", page, name)
		}
	}
	if unknown, err := docs.UnknownSymbols(l, "`dlq.Queue.List` `dlq.Queue.Lits` `dlq.Quue` `bus.Publish` `bus.Publsh` `message.Nothing` `redisbus.Config.URL`"); err != nil ||
		!slices.Equal(unknown, []string{"dlq.Queue.Lits", "dlq.Quue", "bus.Publsh"}) {
		t.Errorf("%q, %v", unknown, err)
	}
}

// The page has each name of the Python library, and no other.
func TestFromPython_IsComplete(t *testing.T) {
	t.Parallel()
	names, err := os.Open("testdata/python_names.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	page := listed(readPage(t, "from-python.md"))
	for lines := bufio.NewScanner(names); lines.Scan(); {
		name := lines.Text()
		if strings.HasPrefix(name, "#") {
			continue
		}
		if !page[name] {
			t.Errorf("docs/from-python.md has no row for %s", name)
		}
		delete(page, name)
	}
	for name := range page {
		t.Errorf("docs/from-python.md: the reference has no %s", name)
	}
}

// The page has each middleware of Watermill and each setting of its adapters, as
// they are in the versions of go.mod.
func TestFromWatermill_IsComplete(t *testing.T) {
	t.Parallel()
	page := readPage(t, "from-watermill.md")
	const of = "github.com/ThreeDotsLabs/"
	for _, c := range []struct {
		section, module, folder string
		want                    func(*ast.File) []string
	}{
		{"Middlewares", "watermill", "message/router/middleware", exportedNames},
		{"The router", "watermill", "message/router/plugin", exportedNames},
		{"The router", "watermill", "message", routerConfig},
		{"watermill-redisstream", "watermill-redisstream", "pkg/redisstream", settings},
		{"watermill-amqp", "watermill-amqp/v2", "pkg/amqp", settings},
		{"watermill-kafka", "watermill-kafka/v3", "pkg/kafka", settings},
	} {
		rows := listed(section(page, c.section))
		names := namesIn(t, filepath.Join(moduleDir(t, of+c.module), c.folder), c.want)
		if len(names) == 0 {
			t.Errorf("%s: nothing was found in %s", c.module, c.folder)
		}
		for _, name := range names {
			if !rows[name] {
				t.Errorf("docs/from-watermill.md, %s: no row for %s", c.section, name)
			}
			delete(rows, name)
		}
		if c.section != "The router" { // which has a choice of methods, too
			for name := range rows {
				t.Errorf("docs/from-watermill.md, %s: %s has no %s", c.section, c.module, name)
			}
		}
	}
}

func moduleDir(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", path)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}

	return strings.TrimSpace(string(out))
}

func namesIn(t *testing.T, dir string, of func(*ast.File) []string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range of(f) {
			found[name] = true
		}
	}

	return slices.Sorted(maps.Keys(found))
}

// exportedNames returns functions and types, without methods.
func exportedNames(f *ast.File) []string {
	var out []string
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.IsExported() {
			out = append(out, fn.Name.Name)
		}
	}
	for _, ts := range typeSpecs(f) {
		out = append(out, ts.Name.Name)
	}

	return out
}

// settings returns the fields of structs whose name ends in Config.
func settings(f *ast.File) []string {
	var out []string
	for _, ts := range typeSpecs(f) {
		body, ok := ts.Type.(*ast.StructType)
		if !ok || !strings.HasSuffix(ts.Name.Name, "Config") {
			continue
		}
		for _, field := range body.Fields.List {
			for _, n := range field.Names {
				if n.IsExported() {
					out = append(out, ts.Name.Name+"."+n.Name)
				}
			}
		}
	}

	return out
}

func routerConfig(f *ast.File) []string {
	return slices.DeleteFunc(settings(f), func(name string) bool { return !strings.HasPrefix(name, "RouterConfig.") })
}

func typeSpecs(f *ast.File) []*ast.TypeSpec {
	var out []*ast.TypeSpec
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok {
			for _, s := range g.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() {
					out = append(out, ts)
				}
			}
		}
	}

	return out
}

// Every cell of docs/what-happens.md names tests that exist, and that run on the
// bus of its column: cases of the conformance suite which the bus does not lack
// in all its configurations, and tests of its package.
func TestWhatHappens_EachCellIsTested(t *testing.T) {
	t.Parallel()
	page := readPage(t, "what-happens.md")
	columns := []string{"membus", "redisbus", "rabbitbus", "kafkabus"}
	cases := map[string]eventbustest.Case{}
	for _, c := range eventbustest.Cases() {
		cases[c.Name] = c
	}
	tests, lacks := map[string][]string{}, map[string]map[eventbustest.Feature]bool{}
	for _, bus := range columns {
		dir := filepath.Join(root, "eventbus", bus)
		tests[bus], lacks[bus] = testsIn(t, dir), lacking(t, dir)
		if len(tests[bus]) == 0 || len(lacks[bus]) == 0 {
			t.Fatalf("%s: %d tests, lacking %v", bus, len(tests[bus]), lacks[bus])
		}
	}
	code, rows := regexp.MustCompile("`([^`]+)`"), 0
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| **") {
			continue
		}
		if rows++; len(cells) != 1+len(columns) {
			t.Errorf("a row has %d cells: %s", len(cells), line)

			continue
		}
		event := strings.TrimSpace(cells[0])
		for i, bus := range columns {
			cell := strings.TrimSpace(cells[i+1])
			names := code.FindAllStringSubmatch(cell, -1)
			if len(names) == 0 && (bus != "membus" || !strings.HasPrefix(cell, "n/a: ")) {
				t.Errorf("%s, %s: no test is named", event, bus)
			}
			for _, m := range names {
				c, isCase := cases[m[1]]
				switch {
				case !isCase && !slices.Contains(tests[bus], m[1]):
					t.Errorf("%s, %s: there is no case and no test %q", event, bus, m[1])
				case isCase && slices.ContainsFunc(c.Need, func(f eventbustest.Feature) bool { return lacks[bus][f] }):
					t.Errorf("%s, %s: the case %s is skipped there", event, bus, m[1])
				}
			}
		}
	}
	if rows < 15 {
		t.Errorf("only %d rows were found", rows)
	}
}

// testFiles parses the tests of a folder.
func testFiles(t *testing.T, dir string) []*ast.File {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]*ast.File, len(files))
	for i, file := range files {
		if out[i], err = parser.ParseFile(token.NewFileSet(), file, nil, 0); err != nil {
			t.Fatal(err)
		}
	}

	return out
}

func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for _, f := range testFiles(t, dir) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			out = append(out, fn.Name.Name)
			ast.Inspect(fn, func(n ast.Node) bool { // its subtests, where their names stand in it
				if call, ok := n.(*ast.CallExpr); ok && isSelector(call.Fun, "Run") && len(call.Args) == 2 {
					if lit, ok := call.Args[0].(*ast.BasicLit); ok {
						out = append(out, fn.Name.Name+"/"+strings.Trim(lit.Value, `"`))
					}
				}

				return true
			})
		}
	}

	return out
}

// lacking returns the features that each of the harnesses of a package lacks.
func lacking(t *testing.T, dir string) map[eventbustest.Feature]bool {
	t.Helper()
	count, harnesses := map[eventbustest.Feature]int{}, 0
	for _, f := range testFiles(t, dir) {
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || !isSelector(lit.Type, "Lacks") {
				return true
			}
			harnesses++
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.SelectorExpr); ok {
						count[eventbustest.Feature(key.Sel.Name)]++
					}
				}
			}

			return true
		})
	}
	out := map[eventbustest.Feature]bool{}
	for f, n := range count {
		if n == harnesses {
			out[f] = true
		}
	}

	return out
}

func isSelector(e ast.Expr, name string) bool {
	s, ok := e.(*ast.SelectorExpr)

	return ok && s.Sel.Name == name
}
