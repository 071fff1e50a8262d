// Package msgctx is the context of one message, without an allocation for those
// whose handlers never wait for its end.
package msgctx

import (
	"context"
	"sync"

	"github.com/leat-go/leat/internal/ctxkey"
	"github.com/leat-go/leat/middleware"
)

// Context is the context of one delivery: it has the values of its parent, tells
// the delivery (middleware.DeliveryFrom), and ends with its parent or when the
// delivery is over. The zero value is to be begun. It must not be copied.
type Context struct {
	context.Context //nolint:containedctx // it is a context: the parent's Deadline is its own
	delivery        *middleware.Delivery

	mu     sync.Mutex
	over   bool
	child  context.Context //nolint:containedctx // made when somebody asks for Done
	cancel context.CancelFunc
}

var _ context.Context = (*Context)(nil)

// Begin begins the delivery, once.
func (c *Context) Begin(parent context.Context, d *middleware.Delivery) {
	c.Context, c.delivery = parent, d
}

// End ends the context; a second call does nothing.
func (c *Context) End() {
	c.mu.Lock()
	c.over = true
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// Done is closed when the parent or the delivery ends.
func (c *Context) Done() <-chan struct{} { return c.joined().Done() }

// joined returns the context that ends as both do.
func (c *Context) joined() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		c.child, c.cancel = context.WithCancel(c.Context)
		if c.over {
			c.cancel()
		}
	}
	return c.child
}

// Err is nil while the delivery goes on.
func (c *Context) Err() error {
	c.mu.Lock()
	child, over := c.child, c.over
	c.mu.Unlock()
	if child != nil {
		return child.Err()
	}
	if err := c.Context.Err(); err != nil || !over {
		return err
	}
	return c.joined().Err()
}

// Value tells the delivery, and what the parent tells.
func (c *Context) Value(key any) any {
	if _, ok := key.(ctxkey.Delivery); ok {
		return c.delivery
	}
	c.mu.Lock()
	child, over := c.child, c.over
	c.mu.Unlock()
	switch {
	case child != nil:
		return child.Value(key) // package context finds the one that cancels
	case over:
		return c.joined().Value(key)
	}
	return c.Context.Value(key)
}
