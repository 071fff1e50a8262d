package main

import (
	"bytes"
	"go/ast"
	"go/constant"
	"go/printer"
	"go/token"
	"go/types"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const meaning = `(?: means|:| is) ([^.]*(?:\.\w[^.]*)*)`

// What comments say of the value that a field has when nobody sets it, by the
// kind of its type: in a comment on a function "empty" may be what it returns.
var (
	ofNumbers = regexp.MustCompile(`(?i)(?:^|[ .,;:])(?:0|0 or less|zero|the zero value)` + meaning)
	ofTexts   = regexp.MustCompile(`(?i)(?:^|[.,;:] )(?:an )?(?:empty|the zero value)` + meaning)
	ofOthers  = regexp.MustCompile(`(?i)(?:^|[.,;:] )(?:nil|its zero value|the zero value)` + meaning)

	discards      = regexp.MustCompile(`(?i)\bnil discards\b`)
	namedDefault  = regexp.MustCompile(`\b(?:(\w+)\.)?(Default[A-Z]\w*)`)
	durationZeros = regexp.MustCompile(`([mh])0[ms](?:0s)?$`) // of 1m0s and 1h0m0s
	sentence      = regexp.MustCompile(`(?i)(?:^|\. )it is required|(?:^|\. )required\.`)
)

// typeText writes a type as the code does.
func typeText(e ast.Expr) string {
	var b bytes.Buffer
	_ = printer.Fprint(&b, token.NewFileSet(), e) // to memory

	return strings.Join(strings.Fields(b.String()), " ")
}

// unit tells in what a field counts; empty for what counts nothing.
func unit(f *field) string {
	switch typeText(f.typ) {
	case "time.Duration":
		return "time"
	case "float64":
		return "fraction"
	case "bool":
		return "on, off"
	case "int", "int32", "int64":
		if strings.Contains(f.name, "Bytes") {
			return "bytes"
		}

		return "number"
	}

	return ""
}

// defaultOf tells what a field means that is not set.
func defaultOf(packages []*pkg, s *structure, f *field) string {
	switch {
	case s.required[f.name] || strings.Contains(s.doc, "every field is required") || sentence.MatchString(f.doc):
		return "**required**"
	case discards.MatchString(f.doc):
		return "silence"
	}
	text := f.said(typeOf(s, f.name))
	own := "Default" + f.name // of several fields with one comment each may have its own
	if i := strings.Index(text, own); i >= 0 {
		text = text[i:]
	} else if strings.Contains(f.doc, own+"]") || strings.HasPrefix(text, "their defaults") {
		if v := named(packages, s.pkg, own); v != "" {
			return v
		}
	}
	if id, ok := f.typ.(*ast.Ident); ok && text == "" {
		if name := zeroName(s.pkg, id.Name); name != "" {
			return "`" + name + "`"
		}
	}
	if text == "" {
		return zero(typeOf(s, f.name))
	}
	if v := named(packages, s.pkg, text); v != "" {
		return v
	}

	return strings.TrimSuffix(strings.NewReplacer("[*", "", "[", "", "]", "").Replace(text), ",")
}

// zero says what the zero value of a type is.
func zero(of types.Type) string {
	switch t := of.Underlying().(type) {
	case *types.Basic:
		switch {
		case t.Info()&types.IsBoolean != 0:
			return "off"
		case t.Info()&types.IsString != 0:
			return "empty"
		}

		return "0"
	case *types.Struct:
		return "its own defaults"
	}

	return "nil"
}

func typeOf(s *structure, name string) types.Type {
	if body, ok := s.pkg.types.Scope().Lookup(s.name).Type().Underlying().(*types.Struct); ok {
		for f := range body.Fields() {
			if f.Name() == name {
				return f.Type()
			}
		}
	}

	return types.Typ[types.Invalid]
}

// said returns what the comment says of the zero value of this very field. In
// the comment of several, the field must have been spoken of by then.
func (f *field) said(of types.Type) string {
	expr := ofOthers
	if t, ok := of.Underlying().(*types.Basic); ok {
		expr = ofNumbers
		if t.Info()&types.IsString != 0 {
			expr = ofTexts
		}
		if _, enum := of.(*types.Named); enum && expr == ofNumbers && of.String() != "time.Duration" {
			expr = ofOthers
		}
	}
	for _, t := range expr.FindAllStringSubmatchIndex(f.doc, -1) {
		if f.follow == "" || strings.Contains(f.doc[:t[0]+1], f.name) {
			return f.doc[t[2]:t[3]]
		}
	}

	return ""
}

// named returns the value of the Default constant in a text.
func named(packages []*pkg, home *pkg, text string) string {
	m := namedDefault.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	scope := home.types.Scope()
	if m[1] != "" {
		for _, p := range packages {
			if p.name == m[1] {
				scope = p.types.Scope()
			}
		}
	}
	c, ok := scope.Lookup(m[2]).(*types.Const)
	if !ok {
		return ""
	}
	value := "`" + valueText(c) + "`"
	_, rest, _ := strings.Cut(text, m[2])
	if rest = strings.TrimLeft(rest, "]"); strings.HasPrefix(rest, ", or ") {
		value += rest
	}

	return value
}

func valueText(c *types.Const) string {
	if types.TypeString(c.Type(), nil) == "time.Duration" {
		n, _ := constant.Int64Val(c.Val())

		return durationZeros.ReplaceAllString(time.Duration(n).String(), "$1")
	}
	if c.Val().Kind() == constant.String {
		return constant.StringVal(c.Val())
	}
	if n, ok := constant.Int64Val(constant.ToInt(c.Val())); ok {
		return thousands(n)
	}

	return c.Val().String()
}

// thousands writes a number with commas.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}

	return text
}

// zeroName returns the constant of an enumeration that is its zero value.
func zeroName(in *pkg, typeName string) string {
	scope := in.types.Scope()
	for _, name := range scope.Names() {
		c, ok := scope.Lookup(name).(*types.Const)
		if !ok || !c.Exported() {
			continue
		}
		if n, isNamed := c.Type().(*types.Named); isNamed && n.Obj().Name() == typeName && c.Val().Kind() == constant.Int && constant.Sign(c.Val()) == 0 {
			return name
		}
	}

	return ""
}
