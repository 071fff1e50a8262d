package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Direction is one way through the proxy, or both.
type Direction int

// The directions.
const (
	ToServer Direction = 1 << iota
	ToClient
	Both = ToServer | ToClient
)

// Proxy forwards TCP connections to one server. All methods may be called from
// many goroutines.
type Proxy struct {
	target string
	addr   string
	faults faults

	accepted atomic.Int64
	work     sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	conns    map[*pair]struct{}
	closed   bool
}

// pair is one client's connection and the one made for it.
type pair struct {
	client, server net.Conn
	ended          chan struct{} // closed when either was closed for good
	once           sync.Once
	abandoned      atomic.Bool // see HalfOpen
}

// Start listens on a free loopback port and forwards to target (host:port),
// which need not be up yet: a client whose connection cannot be forwarded sees
// it closed. The caller owns the proxy and closes it.
func Start(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a local bind does not block
	if err != nil {
		return nil, fmt.Errorf("proxy: start for %s: %w", target, err)
	}

	p := &Proxy{target: target, addr: listener.Addr().String(), listener: listener, conns: map[*pair]struct{}{}}
	p.faults.changed = make(chan struct{})
	p.work.Go(func() { p.accept(listener) })

	return p, nil
}

// Addr returns host:port for clients. It never changes.
func (p *Proxy) Addr() string { return p.addr }

// Connections returns how many are open now.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()

	return len(p.conns)
}

// Accepted returns how many connections there were in all: a client's
// reconnects can be counted with it.
func (p *Proxy) Accepted() int64 { return p.accepted.Load() }

// Close cuts every connection, stops listening and waits for the proxy's
// goroutines. A second call does nothing.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	listener := p.listener
	p.listener = nil
	p.mu.Unlock()

	var err error
	if listener != nil {
		err = listener.Close()
	}
	p.Cut()
	p.work.Wait()
	if err != nil {
		return fmt.Errorf("proxy: close: %w", err)
	}

	return nil
}

// Cut closes every open connection at once, with a reset in both directions:
// what was on its way is lost. New connections are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()

	for c := range p.conns {
		c.reset()
	}
}

// Refuse cuts every connection and stops listening: a client that connects is
// refused, as by a server that is down, until [Proxy.Accept].
func (p *Proxy) Refuse() error {
	p.mu.Lock()
	listener := p.listener
	p.listener = nil
	p.mu.Unlock()

	if listener != nil {
		if err := listener.Close(); err != nil {
			return fmt.Errorf("proxy: refuse: %w", err)
		}
	}
	p.Cut()

	return nil
}

// Accept ends a [Proxy.Refuse], on the same port. It fails when another
// program took the port meanwhile, or after Close.
func (p *Proxy) Accept() error {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.closed {
		return fmt.Errorf("proxy: accept: %w", net.ErrClosed)
	}
	if p.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", p.addr) //nolint:noctx // a local bind does not block
	if err != nil {
		return fmt.Errorf("proxy: accept: %w", err)
	}
	p.listener = listener
	p.work.Go(func() { p.accept(listener) })

	return nil
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, or the client is gone again
			select {
			case <-p.faults.wait():
			case <-time.After(10 * time.Millisecond):
			}

			continue
		}
		p.accepted.Add(1)
		p.work.Go(func() { p.serve(client) })
	}
}

// serve connects to the server and forwards until either side ends.
func (p *Proxy) serve(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.target, 10*time.Second) //nolint:noctx // bounded by its time-out
	if err != nil {
		_ = client.Close()

		return
	}

	c := &pair{client: client, server: server, ended: make(chan struct{})}
	if !p.add(c) {
		c.reset()

		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.forward(c, client, server, ToServer) })
	both.Go(func() { p.forward(c, server, client, ToClient) })
	both.Wait()

	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	c.close()
}

// add registers a connection, unless it came through while the proxy was
// being closed or made to refuse.
func (p *Proxy) add(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.closed || p.listener == nil {
		return false
	}
	p.conns[c] = struct{}{}

	return true
}

// reset closes both connections the hard way.
func (c *pair) reset() {
	for _, conn := range []net.Conn{c.client, c.server} {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset instead of an orderly end
		}
	}
	c.close()
}

// abandon ends the server's side only.
func (c *pair) abandon() {
	c.abandoned.Store(true)
	if tcp, ok := c.server.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.server.Close()
}

func (c *pair) close() {
	c.once.Do(func() { close(c.ended) })
	_ = c.client.Close()
	_ = c.server.Close()
}
