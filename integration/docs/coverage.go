package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Coverage tells how much of what a package exports has a comment.
type Coverage struct {
	Total   int
	Missing []string // Name, Type.Method, Type.Field
}

// Documented counts what is exported: types, functions, methods of exported
// types, methods of interfaces, fields of structs, constants and variables. A
// comment above a group, and one behind the name, count as well as one of its
// own: a group ends at an empty line. So does the comment of a type that speaks
// of its field or method by name. Embedded types document themselves.
func Documented(p Package) (Coverage, error) {
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return Coverage{}, fmt.Errorf("docs: %w", err)
	}
	c := coverer{fset: token.NewFileSet()}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return Coverage{}, fmt.Errorf("docs: %w", err)
		}
		for _, d := range f.Decls {
			c.decl(d)
		}
	}

	return c.found, nil
}

type coverer struct {
	fset  *token.FileSet
	found Coverage
}

func (c *coverer) count(name string, documented bool) {
	c.found.Total++
	if !documented {
		c.found.Missing = append(c.found.Missing, name)
	}
}

func (c *coverer) decl(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() {
			return
		}
		name := d.Name.Name
		if d.Recv != nil {
			of := receiverName(d.Recv.List[0].Type)
			if !ast.IsExported(of) {
				return
			}
			name = of + "." + name
		}
		c.count(name, d.Doc != nil)
	case *ast.GenDecl:
		grouped := d.Doc != nil
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					c.count(s.Name.Name, s.Doc != nil || d.Doc != nil)
					c.members(s.Name.Name, d.Doc.Text()+s.Doc.Text(), s.Type)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() {
						c.count(n.Name, grouped || s.Doc != nil || s.Comment != nil)
					}
				}
			}
		}
	}
}

// members counts the fields of a struct and the methods of an interface.
func (c *coverer) members(of, doc string, t ast.Expr) {
	var list []*ast.Field
	switch t := t.(type) {
	case *ast.StructType:
		list = t.Fields.List
	case *ast.InterfaceType:
		list = t.Methods.List
	}
	grouped, end := false, -1
	for _, f := range list {
		switch {
		case f.Doc != nil:
			grouped = true
		case c.fset.Position(f.Pos()).Line != end+1:
			grouped = false
		}
		end = c.fset.Position(f.End()).Line
		for _, n := range f.Names {
			if n.IsExported() {
				c.count(of+"."+n.Name, grouped || f.Comment != nil || regexp.MustCompile(`\b`+n.Name+`\b`).MatchString(doc))
			}
		}
	}
}

func receiverName(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StarExpr:
		return receiverName(t.X)
	case *ast.IndexExpr:
		return receiverName(t.X)
	case *ast.IndexListExpr:
		return receiverName(t.X)
	case *ast.Ident:
		return t.Name
	}

	return ""
}
