package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 32 << 10
	// queueLength bounds what is held back in one direction of a connection:
	// 512 chunks, at most 16 MB, less when they are small.
	queueLength = 512
)

// chunk is some bytes and the time at which they may be delivered.
type chunk struct {
	bytes []byte
	due   time.Time
}

// forward moves bytes one way until the connection ends. Reading and writing
// are two goroutines, so that bytes can be under way while others are read.
func (p *Proxy) forward(c *pair, from, to net.Conn, d Direction) {
	queue := make(chan chunk, queueLength)

	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(queue)
		p.read(c, from, d, queue)
	})
	p.write(c, to, d, queue)
	reader.Wait()
}

func (p *Proxy) read(c *pair, from net.Conn, d Direction, queue chan<- chunk) {
	buffer := make([]byte, chunkSize)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			next := chunk{bytes: append([]byte(nil), buffer[:n]...)}
			if latency := p.faults.latency(); latency > 0 {
				next.due = time.Now().Add(latency)
			}
			select {
			case queue <- next:
			case <-c.ended:
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			if !c.abandoned.Load() {
				c.reset()
			}

			return
		}
	}
}

// write delivers chunks. At the end of the bytes it passes the end on: a
// reader that is done writing may still read.
func (p *Proxy) write(c *pair, to net.Conn, d Direction, queue <-chan chunk) {
	for next := range queue {
		if !next.due.IsZero() && !waitUntil(next.due, c.ended) {
			return
		}
		dropped, ok := p.gate(c, d)
		if !ok {
			return
		}
		if dropped || c.abandoned.Load() {
			continue
		}

		passing, cut := p.faults.allow(d, len(next.bytes))
		_, err := to.Write(next.bytes[:passing])
		if cut {
			c.close() // not a reset: the bytes that may pass shall arrive
			p.Cut()

			return
		}
		if err != nil && !c.abandoned.Load() {
			c.reset()

			return
		}
	}
	if c.abandoned.Load() {
		return
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// gate waits while the direction is stalled. It reports false when the
// connection ended meanwhile.
func (p *Proxy) gate(c *pair, d Direction) (dropped, ok bool) {
	for {
		stalled, dropped, changed := p.faults.now(d)
		if !stalled {
			return dropped, true
		}
		select {
		case <-changed:
		case <-c.ended:
			return false, false
		}
	}
}
