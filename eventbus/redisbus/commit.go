package redisbus

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// request is one call's commands, which always travel in one pipeline. What it
// is made of is used for one call after the other: as objects of their own they
// are a third of what publishing one event costs.
type request struct {
	cmds    []redis.Cmder
	bytes   int
	done    chan struct{} // one token: every command has its outcome
	args    []any         // of the commands
	flight  *flight       // that has it; nil: it is queued
	encoder *encoder
}

// flight is a pipeline under way. What nobody waits for any more is not sent if
// it still can be helped, as while a connection is made: it would come behind what
// its publisher wrote afterwards.
type flight struct {
	aboard atomic.Int32
	end    context.CancelFunc
}

func (f *flight) leave() {
	if f.aboard.Add(-1) == 0 {
		f.end()
	}
}

func newRequest(form Form) *request {
	return &request{done: make(chan struct{}, 1), encoder: newEncoder(form)}
}

// reset lets go of the messages, and reports whether the request is small enough
// to be kept.
func (r *request) reset() bool {
	clear(r.cmds)
	clear(r.args)
	r.encoder.forget()
	r.cmds, r.args, r.bytes, r.flight = r.cmds[:0], r.args[:0], 0, nil
	return cap(r.args) <= 2048 && cap(r.encoder.buffer) <= 64<<10
}

// While one pipeline waits for the server a second one is filled, if it is worth
// it: from company requests on.
const (
	pipelines = 2
	company   = 8
)

// Bounds of a pipeline that several calls share. One call may exceed them: its
// messages are not torn apart. Larger ones gain nothing and delay everybody by
// the slowest answer.
const (
	shareCommands = 1000
	shareBytes    = 1 << 20
)

// submit hands the request to the committer and waits for its outcome, or for
// the end of ctx. An error means the outcome of all its commands.
func (p *Publisher) submit(ctx context.Context, req *request) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.queue = append(p.queue, req)
	if p.running == 0 || p.running < pipelines && len(p.queue) >= company {
		// Nobody is on the way: a lone publisher goes at once. The goroutine
		// ends with the queue, so an idle publisher has none.
		p.running++
		p.ended.Go(p.commit)
	}
	p.mu.Unlock()

	select {
	case <-req.done:
		return nil
	case <-ctx.Done():
	}
	if p.withdraw(req) {
		return fmt.Errorf("not sent: %w", context.Cause(ctx))
	}
	select {
	case <-req.done: // it came at the same moment
		return nil
	default:
		req.flight.leave()
		return fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
	}
}

// withdraw takes a request that no pipeline has yet out of the queue.
func (p *Publisher) withdraw(req *request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.queue, req)
	if i < 0 {
		return false
	}
	p.queue = slices.Delete(p.queue, i, i+1)
	return true
}

// commit sends one pipeline after the other. The context of one caller
// must not end what others wait for; the client's time-outs bound it.
func (p *Publisher) commit() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		batch := p.take(&flight{end: cancel})
		if batch == nil {
			cancel()
			return
		}
		pipe := p.cfg.Client.Pipeline()
		for _, req := range batch {
			// Queues only; the outcome is the command's own after Exec.
			_ = pipe.BatchProcess(ctx, req.cmds...)
		}
		// Exec's error is that of its first failed command, which has it too.
		if _, err := pipe.Exec(ctx); err != nil && serverError(err) == "" {
			rediscover(p.cfg.Client)
		}
		cancel()
		for _, req := range batch {
			req.done <- struct{}{}
		}
	}
}

// take returns the requests of the next pipeline; nil ends the committer: there
// are none, or too few while another one is at work.
func (p *Publisher) take(f *flight) []*request {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 || p.running > 1 && len(p.queue) < company {
		p.running--
		return nil
	}
	commands, bytes, n := 0, 0, 0
	for _, req := range p.queue {
		commands += len(req.cmds)
		bytes += req.bytes
		if n > 0 && (commands > shareCommands || bytes > shareBytes) {
			break
		}
		n++
	}
	batch := slices.Clone(p.queue[:n])
	f.aboard.Store(int32(n))
	for _, req := range batch {
		req.flight = f
	}
	p.queue = slices.Delete(p.queue, 0, n)
	return batch
}
