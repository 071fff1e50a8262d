package eventbus

import (
	"fmt"
	"maps"
	"slices"
)

// table says who handles what: a snapshot that is never changed once it is
// published, so that dispatch reads it without a lock. Its cost for an event
// is one map access, whatever else is registered.
type table struct {
	routes    map[*eventType][]*subscription // without the wildcards
	wildcards []*subscription
	// joined holds, for each type with handlers, those and the wildcards.
	joined map[string][]*subscription
}

func newTable() *table {
	return &table{routes: map[*eventType][]*subscription{}, joined: map[string][]*subscription{}}
}

// clone shares the slices: add and remove replace them, and never write into
// them.
func (t *table) clone() *table {
	return &table{routes: maps.Clone(t.routes), wildcards: t.wildcards, joined: maps.Clone(t.joined)}
}

// handlers returns who gets an event of the wire name; known is false when the
// name means nothing to this bus. reg answers for types that only wildcards
// want.
func (t *table) handlers(name string, reg *Registry) (subs []*subscription, et *eventType) {
	if subs, ok := t.joined[name]; ok {
		et := subs[0].et
		if et == nil {
			et = reg.named(name)
		}
		return subs, et
	}
	if len(t.wildcards) == 0 {
		return nil, nil
	}
	if et := reg.named(name); et != nil {
		return t.wildcards, et
	}
	return nil, nil
}

// of is handlers for a type that is known already.
func (t *table) of(et *eventType) []*subscription {
	if subs, ok := t.joined[et.name]; ok {
		return subs
	}
	return t.wildcards
}

func (t *table) add(subs []*subscription) error {
	for _, s := range subs {
		if err := t.free(s); err != nil {
			return err
		}
	}
	rejoin := false
	for _, s := range subs {
		if s.et == nil {
			t.wildcards = append(slices.Clip(t.wildcards), s)
			rejoin = true
			continue
		}
		t.routes[s.et] = append(slices.Clip(t.routes[s.et]), s)
		if !rejoin {
			t.join(s.et)
		}
	}
	if rejoin {
		t.joinAll()
	}
	return nil
}

// free tells whether the subscription's name can be told apart on every event
// that it gets.
func (t *table) free(s *subscription) error {
	taken := func(others []*subscription) bool {
		return slices.ContainsFunc(others, func(o *subscription) bool { return o.name == s.name })
	}
	if taken(t.wildcards) {
		return fmt.Errorf("%w: a handler of all events has this name", ErrDuplicate)
	}
	if s.et != nil {
		if taken(t.routes[s.et]) {
			return fmt.Errorf("%w: the type has a handler of this name", ErrDuplicate)
		}
		return nil
	}
	for et, others := range t.routes {
		if taken(others) {
			return fmt.Errorf("%w: %s has a handler of this name", ErrDuplicate, et.name)
		}
	}
	return nil
}

func (t *table) remove(match func(*subscription) bool) int {
	removed := 0
	for et, subs := range t.routes {
		kept := slices.DeleteFunc(slices.Clone(subs), match)
		if len(kept) == len(subs) {
			continue
		}
		removed += len(subs) - len(kept)
		if len(kept) == 0 {
			delete(t.routes, et)
		} else {
			t.routes[et] = kept
		}
		t.join(et)
	}
	kept := slices.DeleteFunc(slices.Clone(t.wildcards), match)
	if n := len(t.wildcards) - len(kept); n > 0 {
		removed += n
		t.wildcards = kept
		t.joinAll()
	}
	return removed
}

func (t *table) join(et *eventType) {
	own := t.routes[et]
	all := append(slices.Clip(own), t.wildcards...)
	for _, name := range append([]string{et.name}, et.aliases...) {
		if len(own) == 0 {
			delete(t.joined, name)
		} else {
			t.joined[name] = all
		}
	}
}

func (t *table) joinAll() {
	for et := range t.routes {
		t.join(et)
	}
}

// count returns how many handlers the type has, or all types for nil.
func (t *table) count(et *eventType) int {
	if et != nil {
		return len(t.routes[et])
	}
	n := 0
	for _, subs := range t.routes {
		n += len(subs)
	}
	return n
}
