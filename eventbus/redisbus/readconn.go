package redisbus

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// pollTime is how long a read blocks on a connection that cannot be woken.
const pollTime = 250 * time.Millisecond

// readConn is the connection that blocks in XREADGROUP. go-redis cannot end a
// blocking read when its context does, so the connection is made apart, with
// the client's options: the server is asked to wake it (CLIENT UNBLOCK), which
// loses nothing, and if the server does not answer, the socket is cut.
type readConn struct {
	shared redis.UniversalClient
	stream string
	opened bool // once; the reader's alone

	mu      sync.Mutex
	node    *redis.Client // the given client, or the node that has the stream
	own     *redis.Client
	conn    *redis.Conn
	id      int64 // of the connection on the server; 0: it cannot be woken
	sockets []net.Conn
}

// open connects. Afterwards cmd is there to be read with, and block is how
// long a read may wait.
func (r *readConn) open(ctx context.Context, block time.Duration) (cmd redis.Cmdable, longest time.Duration, err error) {
	node, err := r.resolve(ctx)
	if err != nil {
		return nil, 0, err
	}
	if node == nil {
		return r.shared, min(block, pollTime), r.shared.Ping(ctx).Err()
	}
	opts := *node.Options()
	dial := opts.Dialer
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if _, failed := c.(failedConn); err == nil && !failed {
			r.mu.Lock()
			r.sockets = append(r.sockets, c)
			r.mu.Unlock()
		}
		return c, err
	}
	// The first socket is made before go-redis is asked for one: it writes a line
	// to its global logger whenever that fails, and starts to dial by itself.
	first, err := r.dialFirst(ctx, &opts)
	if err != nil {
		return nil, 0, err
	}
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	// The given client's is a pointer, and its connections write there.
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opts.PoolSize, opts.MinIdleConns, opts.PipelinePoolSize = 1, 0, -1
	if opts.ReadTimeout > 0 {
		opts.ReadTimeout += block
	} else {
		opts.ReadTimeout-- // none is -1, which the given client has made 0 of
	}
	own := redis.NewClient(&opts)
	conn := own.Conn()
	id, err := conn.ClientID(ctx).Result()
	if err != nil && serverError(err) != "NOPERM" {
		_ = conn.Close()
		_ = own.Close()
		_ = first.Close() // if the log-in never came to use it
		return nil, 0, err
	}
	r.mu.Lock()
	r.node, r.own, r.conn, r.id = node, own, conn, id
	r.mu.Unlock()
	if id == 0 {
		block = min(block, pollTime)
	}
	return conn, block, nil
}

// dialFirst makes a socket, and has the options' Dialer return it once.
func (r *readConn) dialFirst(ctx context.Context, opts *redis.Options) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.DialTimeout)
	defer cancel()
	dial := opts.Dialer
	first, err := dial(ctx, opts.Network, opts.Addr)
	if failed, ok := first.(failedConn); ok { // from a client of OpenClient
		err = failed.err
	}
	if err != nil {
		return nil, err
	}
	var once sync.Once
	opts.Dialer = func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		once.Do(func() { c = first })
		if c == nil {
			c, err = dial(ctx, network, addr)
		}
		return c, err
	}
	return first, nil
}

// resolve finds the server to read from; nil means through the given client.
func (r *readConn) resolve(ctx context.Context) (*redis.Client, error) {
	switch c := r.shared.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		if r.opened {
			rediscover(c) // for the next attempt, if this one still finds the old node
		}
		r.opened = true
		return c.MasterForKey(ctx, r.stream)
	default:
		return nil, nil //nolint:nilnil // documented: no node of its own
	}
}

// close is called by the reader alone.
func (r *readConn) close() {
	r.mu.Lock()
	conn, own := r.conn, r.own
	r.node, r.own, r.conn, r.id, r.sockets = nil, nil, nil, 0, nil
	r.mu.Unlock()
	if own == nil {
		return
	}
	// A connection that broke says so again here; nothing follows from it.
	_ = conn.Close()
	_ = own.Close()
}

// unblock wakes a read that waits. It does nothing when none does, and reports
// false when the server does not permit it, so that asking again is useless.
func (r *readConn) unblock(ctx context.Context) (permitted bool) {
	r.mu.Lock()
	node, id := r.node, r.id
	r.mu.Unlock()
	if id == 0 {
		return true
	}
	// Any other error passes: whoever calls tries again, or cuts.
	return serverError(node.ClientUnblock(ctx, id).Err()) != "NOPERM"
}

// cut ends the read at once, whatever the server does.
func (r *readConn) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.sockets {
		_ = c.Close()
	}
}
