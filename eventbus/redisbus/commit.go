package redisbus

import (
	"context"
	"fmt"
	"slices"

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
	encoder *encoder
}

func newRequest(form Form) *request {
	return &request{done: make(chan struct{}, 1), encoder: newEncoder(form)}
}

// reset lets go of the messages, and reports whether the request is small enough
// to be kept.
func (r *request) reset() bool {
	clear(r.cmds)
	clear(r.args)
	r.cmds, r.args, r.bytes = r.cmds[:0], r.args[:0], 0
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
// must not end what others wait for, so the pipelines have none; the client's
// time-outs bound them.
func (p *Publisher) commit() {
	ctx := context.Background()
	for {
		batch := p.take()
		if batch == nil {
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
		for _, req := range batch {
			req.done <- struct{}{}
		}
	}
}

// take returns the requests of the next pipeline; nil ends the committer: there
// are none, or too few while another one is at work.
func (p *Publisher) take() []*request {
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
	p.queue = slices.Delete(p.queue, 0, n)
	return batch
}
