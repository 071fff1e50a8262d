package main

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// also names structs that configure something and could not be found out by a
// method or their name.
var also = map[string]bool{"codec.JSON": true}

const names = `([A-Z]\w*(?:(?:, | and )[A-Z]\w*)*)`

var requiredNames = regexp.MustCompile(`\b` + names + ` (?:is|are) required\b`)

// otherNames are required, too: "the zero value of every field but A and B is".
var otherNames = regexp.MustCompile(`every field but ` + names + ` is`)

// structures finds the structs that configure something, in the order of the
// files.
func structures(in *pkg, fset *token.FileSet, files []*ast.File) []*structure {
	validated := map[string]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == "Validate" && fn.Type.Params.NumFields() == 0 {
				validated[receiver(fn.Recv.List[0].Type)] = true
			}
		}
	}
	var out []*structure
	for _, f := range files {
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				continue
			}
			for _, spec := range decl.Specs {
				ts := spec.(*ast.TypeSpec)
				body, ok := ts.Type.(*ast.StructType)
				name := ts.Name.Name
				if !ok || !ts.Name.IsExported() || !strings.HasSuffix(name, "Config") && !validated[name] && !also[in.name+"."+name] {
					continue
				}
				doc := decl.Doc.Text()
				if ts.Doc != nil {
					doc = ts.Doc.Text()
				}
				s := &structure{pkg: in, name: name, doc: flat(doc), required: map[string]bool{}}
				for _, m := range append(requiredNames.FindAllStringSubmatch(s.doc, -1), otherNames.FindAllStringSubmatch(s.doc, -1)...) {
					for _, n := range strings.FieldsFunc(strings.ReplaceAll(m[1], " and ", ","), func(r rune) bool { return r == ',' || r == ' ' }) {
						s.required[n] = true
					}
				}
				s.fields = fields(fset, body)
				if len(s.fields) > 0 {
					out = append(out, s)
				}
			}
		}
	}

	return out
}

func receiver(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}

	return ""
}

// fields returns the exported fields. One without a comment that stands right
// behind another has that one's: they were written as a group.
func fields(fset *token.FileSet, body *ast.StructType) []*field {
	var out []*field
	var doc, first string
	end := -1
	for _, f := range body.Fields.List {
		switch {
		case f.Doc != nil:
			doc, first = flat(f.Doc.Text()), ""
		case fset.Position(f.Pos()).Line != end+1:
			doc, first = "", ""
		}
		end = fset.Position(f.End()).Line
		for _, n := range f.Names {
			if !n.IsExported() {
				continue
			}
			own := &field{name: n.Name, typ: f.Type, doc: doc, follow: first}
			if f.Comment != nil {
				own.doc, own.note = flat(doc+" "+f.Comment.Text()), flat(f.Comment.Text())
			}
			out = append(out, own)
			if first == "" {
				first = n.Name
			}
		}
	}

	return out
}

// flat makes one line of a comment.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }
