package rabbitbus

import (
	"cmp"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// link is one live connection.
type link struct {
	conn *amqp.Connection
	sock *corked // nil: the connection was given
	addr string

	mu      sync.Mutex
	blocked string        // the broker's reason; empty: not blocked
	changed chan struct{} // closed and replaced when blocked changes
	done    chan struct{} // closed when the connection is lost; never for a given one
}

// watch follows what the broker tells about the connection, until it ends.
func (l *link) watch() {
	closes := l.conn.NotifyClose(make(chan *amqp.Error, 1))
	blocks := l.conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	go func() {
		defer close(l.done)
		for {
			select {
			case b, ok := <-blocks:
				if !ok {
					blocks = nil
					continue
				}
				l.setBlocked(b)
			case <-closes:
				return
			}
		}
	}()
}

func (l *link) setBlocked(b amqp.Blocking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocked = ""
	if b.Active {
		l.blocked = cmp.Or(b.Reason, "no reason given")
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// blocking returns why the broker takes nothing now, empty when it does, and a
// channel that is closed when that changes.
func (l *link) blocking() (reason string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocked, l.changed
}

// alive reports whether channels can be opened.
func (l *link) alive() bool {
	select {
	case <-l.done:
		return false
	default:
		return !l.conn.IsClosed()
	}
}

// cork holds writes back until uncork, so that many frames are one write.
func (l *link) cork() {
	if l.sock != nil {
		l.sock.cork()
	}
}

func (l *link) uncork() {
	if l.sock != nil {
		l.sock.uncork()
	}
}

// close says goodbye and waits for the answer until the deadline; a write that
// hangs ends then, too.
func (l *link) close(deadline time.Time) error {
	err := l.conn.CloseDeadline(deadline)
	if errors.Is(err, amqp.ErrClosed) || !time.Now().Before(deadline) {
		err = nil // it is closed all the same when nobody answers
	}
	_ = l.sock.Close() // closed already, mostly
	<-l.done
	return err
}
