package docs

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Context holds the declarations that earlier snippets of a page made, as
// source text by name.
type Context map[string]string

// add takes over newer declarations. A type that is declared anew loses its
// methods.
func (c Context) add(decls Context) {
	maps.DeleteFunc(c, func(name, _ string) bool {
		receiver, _, isMethod := strings.Cut(name, ".")

		return isMethod && decls[receiver] != ""
	})
	maps.Copy(c, decls)
}

// errNoGo is what a snippet that cannot be parsed is.
var errNoGo = errors.New("is neither a program nor declarations nor statements")

// CheckFragment type-checks a snippet that is no program, and adds what it
// declares to the context. It returns one line for each problem.
func CheckFragment(l *Library, s *Snippet, known Context) []string {
	text := strings.ReplaceAll(s.Text, "{ ... }", `{ panic("...") }`)
	var problems []string
	var decls Context
	err := errNoGo
	for _, form := range forms(text) {
		p, d, e := l.check(s, form, known)
		switch {
		case e != nil && err != nil:
			err = e // the last form is the most general one
		case e == nil && (err != nil || len(p) < len(problems)):
			problems, decls, err = p, d, nil
		}
	}
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", s.Where(), err)}
	}
	known.add(decls)

	return problems
}

// form is a snippet made into a file: the lines before it push it down.
type form struct {
	source string
	lines  int // of ours before the snippet's first
}

// forms returns the files that a snippet may be meant as.
func forms(text string) []form {
	if strings.HasPrefix(strings.TrimSpace(text), "package ") || packageClause(text) {
		return []form{{source: text}}
	}
	out := []form{{source: "package snippet\n" + text, lines: 1}}
	imports, rest := splitImports(text)
	for _, result := range []string{"", "error", "any", "(any, error)"} {
		head := "package snippet\n" + imports + "func _() " + result + " {\n"
		out = append(out, form{source: head + rest + "\npanic(\"end\")\n}\n", lines: strings.Count(head, "\n") - strings.Count(imports, "\n")})
	}

	return out
}

func packageClause(text string) bool {
	f, err := parser.ParseFile(token.NewFileSet(), "", text, parser.PackageClauseOnly)

	return err == nil && f.Name != nil
}

// splitImports cuts leading import declarations off, which statements cannot
// follow. Lines stay where they are in number.
func splitImports(text string) (imports, rest string) {
	fset := token.NewFileSet()
	const head = "package snippet\n"
	f, err := parser.ParseFile(fset, "", head+text, parser.ImportsOnly)
	if err != nil || len(f.Decls) == 0 {
		return "", text
	}
	end := fset.Position(f.Decls[len(f.Decls)-1].End()).Offset - len(head)

	return text[:end] + "\n", strings.TrimPrefix(text[end:], "\n")
}

// check type-checks one form of a snippet together with what is known.
func (l *Library) check(s *Snippet, fm form, known Context) (problems []string, decls Context, err error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "snippet.go", fm.source, parser.ParseComments)
	if err != nil {
		return nil, nil, err
	}
	file.Name.Name = "snippet"
	decls = declared(fset, file, fm.source)
	before := file.Imports
	l.addImports(file)

	var old strings.Builder
	old.WriteString("package snippet\n")
	for _, name := range slices.Sorted(maps.Keys(known)) {
		receiver, _, _ := strings.Cut(name, ".")
		if _, again := decls[name]; again || decls[receiver] != "" {
			continue
		}
		old.WriteString(known[name] + "\n")
	}
	oldFile, err := parser.ParseFile(fset, "earlier.go", old.String(), 0)
	if err != nil {
		return nil, nil, fmt.Errorf("earlier snippets: %w", err)
	}
	oldFile.Decls = append(importDecls(before), oldFile.Decls...)
	l.addImports(oldFile)

	config := types.Config{
		GoVersion: "go1.26",
		Importer:  l.importer(fset),
		Error: func(err error) {
			var e types.Error
			if !errors.As(err, &e) || e.Soft || fset.Position(e.Pos).Filename == "earlier.go" || s.readers(e.Msg) {
				return
			}
			line := fset.Position(e.Pos).Line - fm.lines
			problems = append(problems, fmt.Sprintf("%s: line %d of the snippet: %s", s.Where(), max(line, 1), e.Msg))
		},
	}
	_, _ = config.Check("snippet", fset, []*ast.File{oldFile, file}, nil) // errors were taken one by one

	return problems, decls, nil
}

// readers reports what is no mistake but the reader's part: an undefined name
// that stands for a variable of theirs, in a doc comment also for a type or a
// function, and a value that is shown without being used. The type checker has
// no public codes for these; its texts are known here only.
func (s *Snippet) readers(msg string) bool {
	if strings.HasSuffix(msg, " is not used") {
		return true
	}
	name, ok := strings.CutPrefix(msg, "undefined: ")

	return ok && !strings.Contains(name, ".") && (s.Comment || unicode.IsLower([]rune(name)[0]))
}

// addImports imports the packages that a file uses without saying so.
func (l *Library) addImports(f *ast.File) {
	has := map[string]bool{}
	for _, imp := range f.Imports {
		path, _ := strconv.Unquote(imp.Path.Value) // the parser has seen that it is a string
		if imp.Name != nil {
			has[imp.Name.Name] = true
		} else {
			has[l.byPath[path].Name] = true
		}
	}
	unresolved := map[string]bool{}
	for _, id := range f.Unresolved {
		unresolved[id.Name] = true
	}
	var paths []string
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && unresolved[id.Name] && !has[id.Name] && l.byName[id.Name] != "" {
				has[id.Name] = true
				paths = append(paths, l.byName[id.Name])
			}
		}

		return true
	})
	for _, path := range paths {
		f.Imports = append(f.Imports, &ast.ImportSpec{Path: &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(path)}})
		f.Decls = append(importDecls(f.Imports[len(f.Imports)-1:]), f.Decls...)
	}
}

func importDecls(specs []*ast.ImportSpec) []ast.Decl {
	var out []ast.Decl
	for _, s := range specs {
		out = append(out, &ast.GenDecl{Tok: token.IMPORT, Specs: []ast.Spec{s}})
	}

	return out
}

// declared returns the top-level declarations of a file, and the types and
// constants that its statements declare, as source text by name; methods as
// Type.Name.
func declared(fset *token.FileSet, f *ast.File, source string) Context {
	text := func(n ast.Node) string {
		return source[fset.Position(n.Pos()).Offset:fset.Position(n.End()).Offset]
	}
	out := Context{}
	general := func(d *ast.GenDecl) {
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				out[spec.Name.Name] = "type " + text(spec)
			case *ast.ValueSpec:
				if len(d.Specs) == 1 {
					out[spec.Names[0].Name] = d.Tok.String() + " " + text(spec)
				} else {
					out[spec.Names[0].Name] = text(d)

					return // a group stays together: iota
				}
			}
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.GenDecl:
			general(d)
		case *ast.FuncDecl:
			if d.Name.Name == "_" && d.Recv == nil { // our own wrapper
				for _, st := range d.Body.List {
					if ds, ok := st.(*ast.DeclStmt); ok {
						if gd, ok := ds.Decl.(*ast.GenDecl); ok && gd.Tok != token.VAR {
							general(gd)
						}
					}
				}

				continue
			}
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d) + "." + name
			}
			if name != "main" && name != "init" {
				out[name] = text(d)
			}
		}
	}

	return out
}

// receiver names the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// AddProgram adds what a program declares to the context, so that later
// fragments of the page can use it.
func AddProgram(s *Snippet, known Context) {
	fset := token.NewFileSet()
	if f, err := parser.ParseFile(fset, "main.go", s.Text, 0); err == nil {
		known.add(declared(fset, f, s.Text))
	}
}
