package docs

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// CommentSnippets returns the code blocks of a package's doc comments that are
// Go. Blocks that do not parse, such as tables and pictures, are left out, and
// so are those in which nothing of a package is used.
func CommentSnippets(l *Library, p Package) ([]Snippet, error) {
	fset := token.NewFileSet()
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return nil, fmt.Errorf("docs: %w", err)
	}
	var files []*ast.File
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("docs: %w", err)
		}
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, p.ImportPath)
	if err != nil {
		return nil, fmt.Errorf("docs: %w", err)
	}
	var out []Snippet
	add := func(name, text string) {
		var parse comment.Parser
		for _, block := range parse.Parse(text).Content {
			if code, ok := block.(*comment.Code); ok && l.isGo(code.Text) {
				out = append(out, Snippet{File: strings.TrimSpace("go doc " + strings.TrimPrefix(p.ImportPath, module+"/") + " " + name), Line: 1, Text: code.Text, Comment: true})
			}
		}
	}
	add("", pkg.Doc)
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			add(v.Names[0], v.Doc)
		}
	}
	funcs := func(prefix string, fs []*doc.Func) {
		for _, f := range fs {
			add(prefix+f.Name, f.Doc)
		}
	}
	values(pkg.Consts)
	values(pkg.Vars)
	funcs("", pkg.Funcs)
	for _, t := range pkg.Types {
		add(t.Name, t.Doc)
		values(t.Consts)
		values(t.Vars)
		funcs("", t.Funcs)
		funcs(t.Name+".", t.Methods)
	}

	return out, nil
}

// isGo reports whether a code block is meant as Go: it parses and uses a package
// that snippets know.
func (l *Library) isGo(text string) bool {
	for _, form := range forms(strings.ReplaceAll(text, "{ ... }", `{ panic("...") }`)) {
		f, err := parser.ParseFile(token.NewFileSet(), "", form.source, 0)
		if err != nil {
			continue
		}
		if len(f.Imports) > 0 {
			return true
		}
		l.addImports(f)

		return len(f.Imports) > 0
	}

	return false
}
