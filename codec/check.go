package codec

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

var (
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// Check tells whether values of t, a struct type or a pointer to one, can be
// encoded and decoded without loss. It is meant for registration time: it is
// slow, and it finds what would otherwise show as missing data much later.
//
// A type is refused when
//   - its first field does not embed a struct of [Header]'s layout (also through
//     a first field that does so itself);
//   - one of its own fields has the JSON name of a header field: encoding/json
//     would drop one of the two;
//   - two of its fields have one JSON name: encoding/json would drop both;
//   - it has, perhaps by embedding, MarshalJSON, UnmarshalJSON, MarshalText or
//     UnmarshalText: such a method would replace the whole document;
//   - a field is of a type that JSON cannot carry both ways: channel, function,
//     complex number, or an interface with methods.
//
// The error is a [*TypeError] that names every problem at once.
func Check(t reflect.Type) error {
	if t == nil {
		return &TypeError{Type: "nil", Problems: []string{"no type"}}
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	c := checker{seen: map[reflect.Type]bool{}}
	if t.Kind() != reflect.Struct {
		c.problem("is a %s, want a struct", t.Kind())
		return c.err(t)
	}
	path, ok := headerPath(t)
	if !ok {
		c.problem("its first field must embed the event header (eventbus.Base), exported and without a json tag")
	}
	for _, m := range []struct {
		iface reflect.Type
		name  string
	}{
		{jsonMarshaler, "MarshalJSON"},
		{jsonUnmarshaler, "UnmarshalJSON"},
		{textMarshaler, "MarshalText"},
		{textUnmarshaler, "UnmarshalText"},
	} {
		if reflect.PointerTo(t).Implements(m.iface) {
			c.problem("has a method %s, perhaps of an embedded field: it would replace the whole document", m.name)
		}
	}
	c.names(t, path)
	c.fields(t, "")
	return c.err(t)
}

type checker struct {
	problems []string
	seen     map[reflect.Type]bool // structs whose fields were looked at
}

func (c *checker) problem(format string, args ...any) {
	if p := fmt.Sprintf(format, args...); !slices.Contains(c.problems, p) {
		c.problems = append(c.problems, p)
	}
}

func (c *checker) err(t reflect.Type) error {
	if len(c.problems) == 0 {
		return nil
	}
	return &TypeError{Type: t.String(), Problems: c.problems}
}

// names looks for JSON names that clash among the fields of t and of the structs
// it embeds, which all end in one object.
func (c *checker) names(t reflect.Type, header []int) {
	reserved := map[string]bool{}
	for i := range headerType.NumField() {
		reserved[headerType.Field(i).Tag.Get("json")] = true
	}
	type place struct {
		depth int
		path  string
	}
	own := map[string]place{}
	var walk func(t reflect.Type, prefix string, index []int, seen []reflect.Type)
	walk = func(t reflect.Type, prefix string, index []int, seen []reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			at := append(slices.Clone(index), i)
			if slices.Equal(at, header) {
				continue // the header itself
			}
			name, skipped := jsonName(f)
			if skipped {
				continue
			}
			if inner, ok := embedded(f); ok {
				if !slices.Contains(seen, inner) {
					walk(inner, prefix+f.Name+".", at, append(slices.Clone(seen), inner))
				}
				continue
			}
			if reserved[name] {
				c.problem("field %s has the JSON name %q of a header field", prefix+f.Name, name)
			}
			if other, ok := own[name]; ok && other.depth == len(index) {
				c.problem("fields %s and %s have one JSON name, %q", other.path, prefix+f.Name, name)
			}
			if other, ok := own[name]; !ok || other.depth > len(index) {
				own[name] = place{depth: len(index), path: prefix + f.Name}
			}
		}
	}
	walk(t, "", nil, []reflect.Type{t})
}

// fields looks for types that JSON cannot carry, in t and in all that it holds.
func (c *checker) fields(t reflect.Type, path string) {
	if encodesItself(t) && path != "" {
		return
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		c.problem("field %s: JSON cannot carry a %s", path, t)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			c.problem("field %s: a %s cannot be decoded, JSON does not tell its type", path, t)
		}
	case reflect.Map:
		k := t.Key()
		if !encodesItself(k) && !slices.Contains(mapKeys, k.Kind()) {
			c.problem("field %s: JSON cannot carry map keys of type %s", path, k)
		}
		c.fields(t.Elem(), path)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		c.fields(t.Elem(), path)
	case reflect.Struct:
		if c.seen[t] {
			return
		}
		c.seen[t] = true
		for i := range t.NumField() {
			f := t.Field(i)
			if _, skipped := jsonName(f); !skipped {
				c.fields(f.Type, strings.TrimPrefix(path+"."+f.Name, "."))
			}
		}
	default: // booleans, numbers and strings
	}
}

var mapKeys = []reflect.Kind{
	reflect.String,
	reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
	reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
}

// encodesItself tells whether a field of type t has its own way into JSON.
func encodesItself(t reflect.Type) bool {
	p := t
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		p = reflect.PointerTo(t)
	}
	return p.Implements(jsonMarshaler) || p.Implements(textMarshaler)
}

// jsonName returns the name of a field in JSON; skipped fields are not written.
func jsonName(f reflect.StructField) (name string, skipped bool) {
	tag := f.Tag.Get("json")
	if tag == "-" {
		return "", true
	}
	if _, ok := embedded(f); !f.IsExported() && !ok {
		return "", true
	}
	name, _, _ = strings.Cut(tag, ",")
	if name == "" {
		name = f.Name
	}
	return name, false
}

// embedded returns the struct whose fields encoding/json lifts into the object
// that holds f.
func embedded(f reflect.StructField) (reflect.Type, bool) {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if !f.Anonymous || name != "" {
		return nil, false
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		if !f.IsExported() {
			return nil, false // encoding/json cannot set it
		}
		t = t.Elem()
	}
	return t, t.Kind() == reflect.Struct
}
