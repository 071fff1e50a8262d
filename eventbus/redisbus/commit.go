package redisbus

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// request is one call's commands, which always travel in one pipeline.
type request struct {
	cmds  []redis.Cmder
	bytes int
	done  chan struct{} // closed when every command has its outcome
}

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
	if !p.running {
		// Nobody is on the way: a lone publisher goes at once. The goroutine
		// ends when the queue is empty, so an idle publisher has none.
		p.running = true
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

// commit sends pipelines until the queue is empty. The context of one caller
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
			for _, cmd := range req.cmds {
				// Queues only; the outcome is the command's own after Exec.
				_ = pipe.Process(ctx, cmd)
			}
		}
		// Exec's error is that of its first failed command, which has it too.
		if _, err := pipe.Exec(ctx); err != nil && serverError(err) == "" {
			rediscover(p.cfg.Client)
		}
		for _, req := range batch {
			close(req.done)
		}
	}
}

// take returns the requests of the next pipeline; nil ends the committer.
func (p *Publisher) take() []*request {
	p.mu.Lock()
	defer p.mu.Unlock()
	commands, bytes, n := 0, 0, 0
	for _, req := range p.queue {
		commands += len(req.cmds)
		bytes += req.bytes
		if n > 0 && (commands > shareCommands || bytes > shareBytes) {
			break
		}
		n++
	}
	if n == 0 {
		p.running = false
		return nil
	}
	batch := slices.Clone(p.queue[:n])
	p.queue = slices.Delete(p.queue, 0, n)
	return batch
}
