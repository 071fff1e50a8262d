package codec

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// layout is what must be known about an event's type: found once by reflection,
// then kept for the life of the process.
type layout struct {
	typ reflect.Type

	// shadows hold zeroed structs of the type, as pointers. An event is copied
	// into one whose header is then cleared, so that encoding/json spends no time
	// on a header that is written by hand, and the caller's event stays as it is.
	shadows sync.Pool
}

// layouts holds reflect.Type -> *layout. It is a cache of facts about types,
// which are finite and never change, so it is shared and never shrinks.
var layouts sync.Map

var errNotAnEvent = errors.New("want a non-nil pointer to a struct that embeds the event header as its first field")

// layoutOf returns the layout of the struct that event points to, and the value
// of that struct.
func layoutOf(event any) (*layout, reflect.Value, error) {
	v := reflect.ValueOf(event)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Type().Elem().Kind() != reflect.Struct {
		return nil, v, errNotAnEvent
	}
	v = v.Elem()
	if known, ok := layouts.Load(v.Type()); ok {
		return known.(*layout), v, nil
	}
	if _, ok := headerPath(v.Type()); !ok {
		return nil, v, errNotAnEvent
	}
	typ := v.Type()
	l := &layout{typ: typ}
	l.shadows.New = func() any { return reflect.New(typ).Interface() }
	known, _ := layouts.LoadOrStore(typ, l)
	return known.(*layout), v, nil
}

// headerOf returns the embedded header of a struct that has a layout. It is the
// same memory: a change shows in the event.
//
// The header is the first field of a first field, so it lies where the event
// begins, and layoutOf made sure that it converts to a Header. Asking reflection
// for that conversion at each event would take a quarter of an Encode.
func headerOf(v reflect.Value) *Header { return (*Header)(v.Addr().UnsafePointer()) }

// own encodes the fields of the event behind its header: the text between the
// header's last member and the closing brace, that brace included.
func (l *layout) own(v reflect.Value, s *scratch) ([]byte, error) {
	shadow := l.shadows.Get()
	sv := reflect.ValueOf(shadow).Elem()
	sv.Set(v)
	*headerOf(sv) = Header{}
	doc, err := s.marshal(shadow)
	sv.SetZero() // keeps nothing of the caller's alive
	l.shadows.Put(shadow)
	if err != nil {
		return nil, err
	}
	if len(doc) <= len(zeroPrefix) || string(doc[:len(zeroPrefix)]) != zeroPrefix {
		return nil, fmt.Errorf("%s is not written with its header first: see codec.Check", l.typ)
	}
	return doc[len(zeroPrefix):], nil
}

// headerPath finds the header at the head of an event: its first field, embedded
// without a JSON name, or the first field of that one, and so on.
func headerPath(t reflect.Type) (path []int, ok bool) {
	for t.Kind() == reflect.Struct && t.NumField() > 0 {
		f := t.Field(0)
		if !f.Anonymous || f.Type.Kind() != reflect.Struct || f.Tag.Get("json") != "" {
			return nil, false
		}
		path = append(path, 0)
		if isHeader(f.Type) {
			return path, f.IsExported()
		}
		t = f.Type
	}
	return nil, false
}

// isHeader tells whether a struct has Header's fields: names, types, order and
// JSON names.
func isHeader(t reflect.Type) bool {
	if !t.ConvertibleTo(headerType) {
		return false
	}
	for i := range headerType.NumField() {
		if t.Field(i).Tag.Get("json") != headerType.Field(i).Tag.Get("json") {
			return false
		}
	}
	return true
}
