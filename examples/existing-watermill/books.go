package main

import (
	"maps"
	"sync"
)

// books is what happened, order by order: the "database" of everybody here.
type books struct {
	mu      sync.Mutex
	placed  map[string]bool           // confirmed by the broker
	after   map[string]bool           // of these, after leat had joined
	entries map[string]map[string]int // how often, by who did it and order
}

func newBooks() *books {
	return &books{placed: map[string]bool{}, after: map[string]bool{}, entries: map[string]map[string]int{}}
}

func (b *books) place(order string, joined bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.placed[order] = true
	if joined {
		b.after[order] = true
	}
}

// enter notes that somebody has done something for an order, and reports whether
// that is new.
func (b *books) enter(who, order string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries[who] == nil {
		b.entries[who] = map[string]int{}
	}
	b.entries[who][order]++
	return b.entries[who][order] == 1
}

// of returns what somebody has done.
func (b *books) of(who string) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.entries[who])
}

// missing returns how many of the orders nobody of these has done anything for.
func (b *books) missing(orders map[string]bool, who ...string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for order := range orders {
		done := 0
		for _, w := range who {
			done += b.entries[w][order]
		}
		if done == 0 {
			n++
		}
	}
	return n
}

// expected returns the orders that the shipping must know of.
func (b *books) expected(history bool) map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if history {
		return maps.Clone(b.placed)
	}
	return maps.Clone(b.after)
}
