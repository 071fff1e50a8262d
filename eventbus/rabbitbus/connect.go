package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Client keeps one connection to a broker: it is made anew, by whoever needs it
// next, when it is lost. A [Publisher] and a [Subscriber] work best on a client
// each, because a broker that is short of memory stops reading from connections
// that publish.
//
// It may be used from many goroutines.
type Client struct {
	cfg   ClientConfig
	given bool
	log   *slog.Logger

	dialing chan struct{} // one token: who has it may dial

	mu      sync.Mutex
	current *link
	next    int // of the URLs
	closed  bool
	ended   chan struct{} // closed by Close

	locks locks

	reconnections atomic.Int64
	connectedAt   atomic.Int64 // Unix nanoseconds
}

// Connect connects to the broker and returns the client, which is yours to
// close. An error is a [*ConnectError] for each node or, joined, every problem
// of the configuration. It tries each node once, and takes no longer than ctx
// allows.
func Connect(ctx context.Context, cfg ClientConfig) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := newClient(cfg.withDefaults())
	if _, err := c.link(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// UseConnection returns a client on a connection that stays yours: Close does
// not close it, and nothing is done to it when it breaks. Unless it recovers by
// itself, publishing and consuming end with it. That the broker blocks it
// (memory or disk alarm) is seen as publishing that runs into its deadline.
func UseConnection(conn *amqp.Connection) (*Client, error) {
	if conn == nil {
		return nil, errors.New("rabbitbus: use connection: it is nil")
	}
	c := newClient(ClientConfig{}.withDefaults())
	c.given = true
	c.current = &link{conn: conn, addr: conn.RemoteAddr().String(), changed: make(chan struct{}), done: make(chan struct{})}
	c.connectedAt.Store(time.Now().UnixNano())
	return c, nil
}

func newClient(cfg ClientConfig) *Client {
	c := &Client{cfg: cfg, log: cfg.Logger, dialing: make(chan struct{}, 1), ended: make(chan struct{})}
	c.dialing <- struct{}{}
	return c
}

// link returns the live connection, or makes one, trying each node once.
func (c *Client) link(ctx context.Context) (*link, error) {
	if l, err := c.live(); l != nil || err != nil {
		return l, err
	}
	select {
	case <-c.dialing:
		defer func() { c.dialing <- struct{}{} }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.ended:
		return nil, ErrClosed
	}
	if l, err := c.live(); l != nil || err != nil {
		return l, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // Close ends a dial
		select {
		case <-c.ended:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	urls := c.cfg.urls()
	var errs []error
	for range urls {
		l, err := c.dial(ctx, urls[c.next%len(urls)])
		if err == nil {
			return l, c.adopt(l)
		}
		c.next++ // only who may dial gets here
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// live returns the connection if there is one, and an error when there will
// never be one again.
func (c *Client) live() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, ErrClosed
	case c.current != nil && c.current.alive():
		return c.current, nil
	case c.given:
		return nil, fmt.Errorf("rabbitbus: %w", errGone)
	}
	return nil, nil //nolint:nilnil // neither: it is to be made
}

func (c *Client) adopt(l *link) error {
	c.mu.Lock()
	again := c.current != nil
	if !c.closed {
		c.current = l
	}
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return errors.Join(ErrClosed, l.close(time.Now().Add(goodbye)))
	}
	c.connectedAt.Store(time.Now().UnixNano())
	if again {
		c.reconnections.Add(1)
		c.log.Debug("connected again", "broker", l.addr)
	}
	return nil
}

// channel opens a channel on the live connection, which it makes if need be.
func (c *Client) channel(ctx context.Context) (*link, *amqp.Channel, error) {
	l, err := c.link(ctx)
	if err != nil {
		return nil, nil, err
	}
	ch, err := within(ctx, l.conn.Channel, func(ch *amqp.Channel) { _ = ch.Close() })
	if err != nil {
		return nil, nil, refused(err)
	}
	return l, ch, nil
}

// do runs f on a channel of its own, so that what the broker refuses closes
// nobody else's.
func (c *Client) do(ctx context.Context, f func(ch *amqp.Channel) error) error {
	_, ch, err := c.channel(ctx)
	if err != nil {
		return err
	}
	_, err = within(ctx, func() (struct{}, error) {
		defer ch.Close() //nolint:errcheck // it served its purpose
		return struct{}{}, f(ch)
	}, nil)
	return refused(err)
}

// goodbye bounds the farewell of a connection.
const goodbye = 2 * time.Second

// Close closes the connection, unless it was given, and waits until it is
// closed, two seconds at most. What is under way on it fails. A second call
// returns nil.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	close(c.ended)
	l := c.current
	c.mu.Unlock()
	if l == nil || c.given {
		return nil
	}
	return l.close(time.Now().Add(goodbye))
}

// within calls f, which knows no context, and leaves it alone when ctx ends:
// then undo, if any, gets a result that comes after all.
func within[T any](ctx context.Context, f func() (T, error), undo func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	if ctx.Done() == nil {
		return f()
	}
	done := make(chan result)
	go func() {
		v, err := f()
		select {
		case done <- result{v, err}:
		case <-ctx.Done():
			if err == nil && undo != nil {
				undo(v)
			}
		}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}
