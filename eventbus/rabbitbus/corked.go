package rabbitbus

import (
	"net"
	"sync"
)

// corkLimit is how much a corked connection holds back. The broker works on the
// beginning of a batch while the rest of it is written.
const corkLimit = 16 << 10

// corked is a connection whose writes can be gathered. The AMQP client writes
// to the socket once for each message; a batch of a hundred is a few writes here,
// which is most of what a batch costs.
type corked struct {
	net.Conn

	heard    bool // the server has said something
	wantsTLS bool // it was an alert of TLS

	mu    sync.Mutex
	depth int
	buf   []byte
}

// Read reads. It notes when a server without TLS here is one with it there,
// which the client takes for a frame of AMQP.
func (c *corked) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.heard && n > 0 {
		const alert, major = 21, 3
		c.heard, c.wantsTLS = true, n > 1 && p[0] == alert && p[1] == major
	}
	return n, err
}

// Write writes, or keeps the bytes while corked. It is under the TLS layer, if
// there is one.
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.depth == 0 && len(c.buf) == 0 {
		return c.Conn.Write(p)
	}
	c.buf = append(c.buf, p...)
	if c.depth > 0 && len(c.buf) < corkLimit {
		return len(p), nil
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *corked) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.depth++
}

// uncork writes what was held back. When that fails it closes the connection:
// its owner learns of it as of any other failure.
func (c *corked) uncork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.depth--; c.depth > 0 {
		return
	}
	if err := c.flush(); err != nil {
		_ = c.Close() // the write's error says it all, and the reader's will be seen
	}
}

func (c *corked) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.buf)
	if cap(c.buf) > 4*corkLimit {
		c.buf = nil
	}
	c.buf = c.buf[:0]
	return err
}
