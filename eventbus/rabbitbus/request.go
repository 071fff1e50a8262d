package rabbitbus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// request is one call of PublishBatch.
type request struct {
	topic string
	plan  func(exchange string) Topology
	items []publishing
	taken int  // items that the writer has or had; guarded by the publisher
	left  bool // the caller is gone; guarded by the publisher

	mu       sync.Mutex
	errs     []error // nil until the first
	outcomes []bool  // which items have theirs; nil until the caller might leave
	open     int     // items without an outcome
	done     chan struct{}

	sole struct { // room for the calls with one message, which are most
		item    [1]publishing
		outcome [1]bool
	}
}

// resolve notes the outcome of an item; nil is confirmed.
func (r *request) resolve(i int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcomes == nil {
		if r.outcomes = r.sole.outcome[:]; len(r.items) > 1 {
			r.outcomes = make([]bool, len(r.items))
		}
	}
	if r.outcomes[i] {
		return
	}
	r.outcomes[i] = true
	if err != nil {
		if r.errs == nil {
			r.errs = make([]error, len(r.items))
		}
		r.errs[i] = fmt.Errorf("rabbitbus: publish to %q: %w", r.topic, err)
	}
	if r.open--; r.open == 0 {
		close(r.done)
	}
}

// resolveFrom gives all items from the i-th on one outcome.
func (r *request) resolveFrom(i int, err error) {
	for ; i < len(r.items); i++ {
		r.resolve(i, err)
	}
}

// submit queues the request and waits for its outcome, for the end of ctx, or
// where that has none, for ConfirmTimeout.
func (p *Publisher) submit(ctx context.Context, req *request) []error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return transport.All(len(req.items), fmt.Errorf("rabbitbus: publish to %q: not sent: %w", req.topic, ErrClosed))
	}
	p.calls.Add(1)
	defer p.calls.Done()
	p.queue = append(p.queue, req)
	if !p.running {
		p.running = true
		p.ended.Go(p.run)
	}
	p.mu.Unlock()
	signal(p.wake)

	var late <-chan time.Time
	if _, ok := ctx.Deadline(); !ok {
		timer := time.NewTimer(p.cfg.ConfirmTimeout)
		defer timer.Stop()
		late = timer.C
	}
	cause := context.DeadlineExceeded
	select {
	case <-req.done:
		return req.errs
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-late:
	}
	p.abandon(req, cause)
	<-req.done
	return req.errs
}

// abandon gives every item without an outcome the one that is known: not sent,
// or unknown.
func (p *Publisher) abandon(req *request, cause error) {
	p.mu.Lock()
	req.left = true
	if i := slices.Index(p.queue, req); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
	}
	taken, blocked, closed := req.taken, p.blocked, p.closed
	p.mu.Unlock()
	if closed {
		signal(p.wake) // it may have been the last
	}
	unsent := fmt.Errorf("not sent: %w", cause)
	if blocked != "" {
		unsent = fmt.Errorf("not sent: %w", &BlockedError{Reason: blocked, Err: cause})
	}
	for i := range taken {
		req.resolve(i, fmt.Errorf("%w: %w", ErrUnknown, cause))
	}
	req.resolveFrom(taken, unsent)
}

// part is a stretch of a request's items.
type part struct {
	req  *request
	from int
	to   int
}

// take returns what to write next: up to a turn of one request, which then
// queues up again behind the others. It waits for it, and returns false when
// the publisher is closed and nothing is left, or ctx ended.
func (p *Publisher) take(ctx context.Context) (part, bool) {
	for {
		if ctx.Err() != nil {
			return part{}, false // whatever is queued: a lost line would be given it again and again
		}
		if next, ok := p.tryTake(); ok {
			return next, true
		}
		if p.over() {
			return part{}, false
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return part{}, false
		}
	}
}

// over reports whether the publisher is closed and nothing is left.
func (p *Publisher) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed && len(p.queue) == 0
}

func (p *Publisher) tryTake() (part, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return part{}, false
	}
	req := p.queue[0]
	next := part{req: req, from: req.taken, to: min(req.taken+turn, len(req.items))}
	req.taken = next.to
	copy(p.queue, p.queue[1:])
	p.queue[len(p.queue)-1] = nil
	p.queue = p.queue[:len(p.queue)-1]
	if req.taken < len(req.items) {
		p.queue = append(p.queue, req)
	}
	return next, true
}

// giveBack undoes the taking of items that were certainly not written.
func (p *Publisher) giveBack(unsent part) {
	if unsent.from == unsent.to {
		return
	}
	p.mu.Lock()
	req := unsent.req
	if req.left {
		p.mu.Unlock()
		return
	}
	if req.taken == unsent.to {
		req.taken = unsent.from
		if i := slices.Index(p.queue, req); i >= 0 {
			p.queue = slices.Delete(p.queue, i, i+1)
		}
		p.queue = slices.Insert(p.queue, 0, req)
		p.mu.Unlock()
		signal(p.wake)
		return
	}
	p.mu.Unlock()
}

func (p *Publisher) setBlocked(reason string) {
	p.mu.Lock()
	p.blocked = reason
	p.mu.Unlock()
}
