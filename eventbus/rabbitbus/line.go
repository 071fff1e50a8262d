package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// line is one channel in confirm mode: the publisher's run writes to it, its
// confirmer waits.
type line struct {
	p       *Publisher
	link    *link
	ch      *amqp.Channel
	flight  chan flying // written and not confirmed, in the order of writing
	returns chan amqp.Return
	lost    chan struct{} // closed when the channel is gone
	why     error         // written before lost is closed
	quit    chan struct{} // closed: wait for nothing that nobody waits for
	known   map[string]bool
	corked  bool // what is written is held back; used by the writer only

	returned []amqp.Return // read, and their confirmations not yet
	ended    sync.WaitGroup
	settled  chan struct{} // closed when nothing is in flight any more
}

// flying is one message on its way.
type flying struct {
	req  *request
	i    int
	sure *amqp.DeferredConfirmation
}

// run writes what is queued until Close, on one line after the other. No error
// ends it: those who wait have deadlines.
func (p *Publisher) run() {
	var pause transport.Backoff
	for {
		// Nothing is opened before somebody wants to publish.
		next, ok := p.take(p.stop)
		if !ok {
			return
		}
		p.giveBack(next)
		if p.idle() {
			continue // its caller left meanwhile
		}
		l, err := p.openLine()
		if err != nil {
			if errors.Is(err, ErrClosed) || errors.Is(err, errGone) || lasting(err) {
				p.failAll(err)
				continue
			}
			p.state.Down(p.log, err)
			if !pause.Wait(p.stop) {
				return
			}
			continue
		}
		pause = transport.Backoff{}
		p.setLine(l)
		err = p.write(l)
		l.close()
		p.setLine(nil)
		if err == nil {
			return
		}
		p.state.Down(p.log, err)
	}
}

func (p *Publisher) setLine(l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = l
}

func (p *Publisher) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) == 0
}

// failAll ends what waits for a connection that will not come.
func (p *Publisher) failAll(err error) {
	for {
		next, ok := p.tryTake()
		if !ok {
			return
		}
		for i := next.from; i < next.to; i++ {
			next.req.resolve(i, fmt.Errorf("not sent: %w", err))
		}
	}
}

func (p *Publisher) openLine() (*line, error) {
	ctx, cancel := context.WithTimeout(p.stop, subscribeTimeout)
	defer cancel()
	link, ch, err := p.cfg.Client.channel(ctx)
	if err != nil {
		return nil, err
	}
	l := &line{
		p: p, link: link, ch: ch, flight: make(chan flying, window),
		// Room for all that can be in flight: the client drops what finds none.
		returns: ch.NotifyReturn(make(chan amqp.Return, window+turn+8)),
		lost:    make(chan struct{}), quit: make(chan struct{}), settled: make(chan struct{}), known: make(map[string]bool),
	}
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	if _, err := within(ctx, func() (struct{}, error) { return struct{}{}, ch.Confirm(false) }, nil); err != nil {
		_ = ch.Close()
		return nil, refused(err)
	}
	l.ended.Go(func() {
		err, ok := <-closes
		if ok && err != nil {
			l.why = refused(err)
		} else {
			l.why = amqp.ErrClosed
		}
		close(l.lost)
	})
	l.ended.Go(l.confirm)
	return l, nil
}

// write sends parts until the line is lost, or nil when the publisher is closed
// and all is written.
func (p *Publisher) write(l *line) error {
	ctx, cancel := context.WithCancel(p.stop)
	defer cancel()
	go func() {
		select {
		case <-l.lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer l.uncork()
	for {
		if !p.awaitUnblocked(ctx, l) {
			return l.end()
		}
		next, ok := p.tryTake()
		if !ok {
			l.uncork() // nothing else comes now that could go with it
			if next, ok = p.take(ctx); !ok {
				return l.end()
			}
		}
		if reason, _ := l.link.blocking(); reason != "" {
			p.giveBack(next) // what is taken counts as written, perhaps
			continue
		}
		left, more := p.look(next)
		if left {
			continue
		}
		if err := l.know(ctx, next.req); err != nil {
			if !lasting(err) {
				p.giveBack(next)
				return err
			}
			// The same for the rest of the call.
			for i := next.from; i < next.to; i++ {
				next.req.resolve(i, fmt.Errorf("not sent: %w", err))
			}
			continue
		}
		if more || next.to-next.from > 1 {
			l.cork()
		}
		if err := l.send(next); err != nil {
			return err
		}
		p.state.Up(p.log)
	}
}

// look reports whether the caller of what was taken has gone, and whether more is
// queued.
func (p *Publisher) look(next part) (left, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return next.req.left, len(p.queue) > 0
}

// cork holds back what is written, so that it goes out with what comes next. It
// wants an uncork before anything is waited for.
func (l *line) cork() {
	if !l.corked {
		l.corked = true
		l.link.cork()
	}
}

func (l *line) uncork() {
	if l.corked {
		l.corked = false
		l.link.uncork()
	}
}

// end returns why the line is lost; nil when it is not.
func (l *line) end() error {
	select {
	case <-l.lost:
		return l.why
	default:
		return nil
	}
}

// awaitUnblocked waits until the broker takes messages, and reports false when
// there is nothing to wait for any more.
func (p *Publisher) awaitUnblocked(ctx context.Context, l *line) bool {
	told := false
	for {
		reason, changed := l.link.blocking()
		p.setBlocked(reason)
		if reason == "" {
			return ctx.Err() == nil
		}
		l.uncork()
		if !told {
			p.log.Warn("publishing waits: the broker blocks it", "reason", reason)
			told = true
		}
		select {
		case <-changed:
		case <-p.wake:
			if p.over() {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// know declares the exchange, once on each line.
func (l *line) know(ctx context.Context, req *request) error {
	if l.known[req.topic] {
		return nil
	}
	l.uncork()
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	if err := l.p.cfg.Client.ensure(ctx, l.p.cfg.Topology.Mode, req.plan(req.topic)); err != nil {
		return err
	}
	l.known[req.topic] = true
	return nil
}

// send writes a part.
func (l *line) send(next part) error {
	mandatory := !l.p.cfg.AllowUnroutable
	for i := next.from; i < next.to; i++ {
		item := &next.req.items[i]
		sure, err := l.ch.PublishWithDeferredConfirm(item.exchange, item.key, mandatory, false, item.Publishing)
		switch {
		case errors.Is(err, amqp.ErrClosed):
			// Nothing of it was written, or not all of it.
			l.p.giveBack(part{next.req, i, next.to})
			return err
		case err != nil:
			next.req.resolve(i, fmt.Errorf("%w: %w", ErrUnknown, err))
			l.p.giveBack(part{next.req, i + 1, next.to})
			return err
		}
		select {
		case l.flight <- flying{next.req, i, sure}:
			continue
		default:
		}
		// The window is full: let the broker see what was written, and wait. When
		// the line is lost, the confirmer takes all there is.
		again := l.corked
		l.uncork()
		l.flight <- flying{next.req, i, sure}
		if again {
			l.cork()
		}
	}
	return nil
}

// close waits until everything in flight has its outcome, and closes the
// channel.
func (l *line) close() {
	close(l.flight)
	close(l.quit)
	<-l.settled
	// When it is lost, this ends a recovery that its owner may have asked for.
	if !farewell(l.ch) {
		return // the rest ends with the connection
	}
	l.ended.Wait()
}

// farewell closes a channel and reports whether the broker answered in time. One
// with an alarm reads nothing from a connection that publishes.
func farewell(ch *amqp.Channel) bool {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_, err := within(ctx, func() (struct{}, error) { return struct{}{}, ch.Close() }, nil)
	return !errors.Is(err, context.DeadlineExceeded)
}
