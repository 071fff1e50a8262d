package dlq

import "sync"

// claims keeps two calls from replaying one letter. A sweep works on a listing,
// which may show a letter that a call beside it has replayed meanwhile; so,
// while there are sweeps, the ids of replayed letters are remembered.
//
// Nobody waits for a claim: a replay can run handlers, which may call for a
// replay themselves.
type claims struct {
	mu     sync.Mutex
	taken  map[string]bool
	sweeps int
	gone   map[string]bool
}

// take claims an id: ErrReplaying when somebody has it, ErrNotFound when the
// letter is known to be gone.
func (c *claims) take(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.taken[id]:
		return ErrReplaying
	case c.gone[id]:
		return ErrNotFound
	}
	if c.taken == nil {
		c.taken = make(map[string]bool)
	}
	c.taken[id] = true
	return nil
}

func (c *claims) release(id string, replayed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.taken, id)
	if replayed && c.sweeps > 0 {
		c.gone[id] = true
	}
}

func (c *claims) beginSweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sweeps++; c.sweeps == 1 {
		c.gone = make(map[string]bool)
	}
}

func (c *claims) endSweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sweeps--; c.sweeps == 0 {
		c.gone = nil
	}
}
