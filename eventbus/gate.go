package eventbus

import (
	"context"
	"sync"
)

// gate counts the publishes under way, and closes in two steps: first for
// those from outside, at the start of a drain in memory; then for all.
type gate struct {
	mu     sync.Mutex
	inside int
	left   int           // since the drain began, without nested ones
	stage  int           // open, draining, shut
	empty  chan struct{} // made by wait, closed when inside falls to 0
}

const (
	open = iota
	draining
	shut
)

// enter reports whether a publish may begin; nested ones, from handlers, may
// do so while the bus drains.
func (g *gate) enter(nested bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stage == shut || g.stage == draining && !nested {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave(nested bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.stage != open && !nested {
		g.left++
	}
	if g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// move goes on to a later stage.
func (g *gate) move(stage int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stage = max(g.stage, stage)
}

// finished returns how many from outside have left since the drain began.
func (g *gate) finished() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

func (g *gate) is(stage int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stage >= stage
}

// wait returns how many are still inside when ctx ends; 0 as soon as all have
// left.
func (g *gate) wait(ctx context.Context) int {
	for {
		g.mu.Lock()
		if g.inside == 0 {
			g.mu.Unlock()
			return 0
		}
		if g.empty == nil {
			g.empty = make(chan struct{})
		}
		empty := g.empty
		g.mu.Unlock()
		select {
		case <-empty:
		case <-ctx.Done():
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.inside // others may have come in since
		}
	}
}
