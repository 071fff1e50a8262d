package eventbustest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// wait receives from c, or fails saying what did not happen.
func wait[T any](s *session, c <-chan T, what string) T {
	s.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(s.h.Patience):
		s.Fatalf("%s: not within %v", what, s.h.Patience)
		panic("unreachable")
	}
}

// look is how often a condition without a signal is looked at.
const look = 2 * time.Millisecond

// until waits for a condition; say tells the state when it does not come.
func (s *session) until(what string, holds func() bool, say func() any) {
	s.Helper()
	if s.soon(holds, s.h.Patience) {
		return
	}
	s.Fatalf("%s: not within %v; at the end: %+v", what, s.h.Patience, say())
}

// never fails when the condition holds at some moment of the span. It can only
// catch what happens soon: it is used beside something that makes it likely.
func (s *session) never(what string, span time.Duration, holds func() bool) {
	s.Helper()
	if s.soon(holds, span) {
		s.Errorf("%s", what)
	}
}

func (s *session) soon(holds func() bool, span time.Duration) bool {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	end := time.After(span)
	for !holds() {
		select {
		case <-ticker.C:
		case <-end:
			return holds()
		}
	}
	return true
}

// gate holds up handlers until it is opened, at the end of the case at the
// latest.
type gate struct {
	open   func()
	opened chan struct{}
}

func (s *session) gate() *gate {
	g := &gate{opened: make(chan struct{})}
	g.open = s.once(func() { close(g.opened) })
	return g
}

// wait returns nil when the gate opens, and the cause when ctx ends first.
func (g *gate) wait(ctx context.Context) error {
	select {
	case <-g.opened:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// once makes f run once: when it is called, or at the end of the case.
func (s *session) once(f func()) func() {
	var once sync.Once
	g := func() { once.Do(f) }
	s.Cleanup(g)
	return g
}

// list shortens what a message would drown in.
func list[T any](items []T) string {
	const show = 12
	var out strings.Builder
	for i, item := range items {
		if i == show {
			fmt.Fprintf(&out, " ... %d in all", len(items))
			break
		}
		if i > 0 {
			out.WriteString(" ")
		}
		fmt.Fprint(&out, item)
	}
	return "[" + out.String() + "]"
}
