package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leat-go/leat/integration/docs"
)

const module = "github.com/leat-go/leat/"

// order is how the packages follow each other on the page; others come behind.
var order = []string{
	"eventbus", "eventbus/membus", "eventbus/redisbus", "eventbus/rabbitbus", "eventbus/kafkabus",
	"eventbus/aggregate", "router", "middleware", "middleware/tracing", "dlq", "codec",
}

// pkg is a package that has something to configure.
type pkg struct {
	short   string // without the module
	name    string
	types   *types.Package
	structs []*structure
}

// structure is one struct that configures something.
type structure struct {
	pkg      *pkg
	name     string
	doc      string
	required map[string]bool
	fields   []*field
}

// field is one of its fields, or one of several that share a comment.
type field struct {
	name   string
	typ    ast.Expr
	doc    string
	note   string // behind the field, in its line
	follow string // the first field that has this comment, when it is not this one
}

func (s *structure) field(name string) *field {
	for _, f := range s.fields {
		if f.name == name {
			return f
		}
	}

	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}

	return strings.TrimSpace(string(out)), nil
}

// load reads all packages of the module that a user can import.
func load(ctx context.Context, root string) ([]*pkg, error) {
	library, err := docs.Load(ctx, root)
	if err != nil {
		return nil, err
	}
	var out []*pkg
	for _, p := range library.Ours {
		in := &pkg{short: strings.TrimPrefix(p.ImportPath, module), name: p.Name}
		fset := token.NewFileSet()
		files, err := parse(fset, p.Dir)
		if err != nil {
			return nil, err
		}
		in.structs = structures(in, fset, files)
		if len(in.structs) == 0 || strings.HasSuffix(in.short, "test") { // suites for tests document themselves
			continue
		}
		if in.types, err = library.Types(p.ImportPath); err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	place := func(p *pkg) int {
		if i := slices.Index(order, p.short); i >= 0 {
			return i
		}

		return len(order)
	}
	slices.SortStableFunc(out, func(a, b *pkg) int { return place(a) - place(b) })

	return out, nil
}

// parse reads the files of a folder that a user compiles.
func parse(fset *token.FileSet, dir string) ([]*ast.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, filepath.Join(dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}

	return files, nil
}
