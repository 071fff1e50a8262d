package kafkabus

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// commitTimeout bounds one request. Rebalances wait for it.
const commitTimeout = 5 * time.Second

// committer writes to the group how far its partitions are done. One request
// is under way at a time, and what it says is collected under the same lock:
// nothing that was collected before a partition moved is written after.
type committer struct {
	s     *subscription
	state transport.State

	mu sync.Mutex // around collecting and writing

	first chan struct{} // one token: there is something to commit
	now   chan struct{} // one token: do not wait
}

// commitment is what one partition has to say.
type commitment struct {
	p      *partition
	offset int64
	epoch  int32
	meta   string
}

func newCommitter(s *subscription) *committer {
	return &committer{
		s: s, state: transport.State{What: "committing"},
		first: make(chan struct{}, 1), now: make(chan struct{}, 1),
	}
}

func (c *committer) wake(hurry bool) {
	signal(c.first)
	if hurry {
		signal(c.now)
	}
}

// run commits in the background until ctx ends. With nothing left to handle it
// does not wait, but two commits are AckDelay apart: a trickle of records, after
// each of which there is nothing left, would be a request each.
func (c *committer) run(ctx context.Context) {
	timer := time.NewTimer(c.s.cfg.AckDelay)
	defer timer.Stop()
	var pause transport.Backoff
	var last time.Time
	for {
		select {
		case <-c.first:
		case <-ctx.Done():
			return
		}
		timer.Reset(c.s.cfg.AckDelay)
		select {
		case <-c.now:
			timer.Reset(time.Until(last.Add(c.s.cfg.AckDelay)))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		last = time.Now()
		if err := c.flush(ctx); err != nil && ctx.Err() == nil {
			if !rebalancing(err) {
				c.state.Down(c.s.log, refused(err))
			}
			c.wake(false)
			pause.Wait(ctx)
			continue
		}
		pause = transport.Backoff{}
		c.state.Up(c.s.log)
	}
}

// flush commits what is done.
func (c *committer) flush(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.s.table
	var all []commitment
	t.mu.Lock()
	for _, p := range t.parts {
		if p.gone || p.done == noOffset || p.done == p.committed {
			continue
		}
		all = append(all, commitment{p: p, offset: p.done, epoch: p.epoch, meta: c.progress(p)})
	}
	t.mu.Unlock()
	return c.write(ctx, all)
}

// progress is called with the table locked.
func (c *committer) progress(p *partition) string {
	if c.s.cfg.MaxDeliveries == NoMaxDeliveries {
		return ""
	}
	p.crash.progress(p.done)
	return p.crash.String()
}

// last commits what is done of partitions that go, and that they go in peace.
func (c *committer) last(ctx context.Context, parts []*partition) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.s.table
	var all []commitment
	t.mu.Lock()
	for _, p := range parts {
		at := p.position()
		if p.gone || at == noOffset {
			continue
		}
		meta := ""
		if c.s.cfg.MaxDeliveries != NoMaxDeliveries {
			meta = p.crash.clean(at)
		}
		if at == p.committed && meta == p.said {
			continue
		}
		all = append(all, commitment{p: p, offset: at, epoch: p.epoch, meta: meta})
	}
	t.mu.Unlock()
	return c.write(ctx, all)
}

// begin writes that this member begins with a partition at an offset, and lets
// its records out afterwards.
func (c *committer) begin(p *partition, at int64) {
	t := c.s.table
	ok := c.untilDone(p, func(ctx context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		t.mu.Lock()
		next := p.crash
		next.begin(at, c.s.cfg.MaxInFlight)
		gone := p.gone || p.moving
		epoch := p.epoch
		t.mu.Unlock()
		if gone {
			return nil
		}
		err := c.write(ctx, []commitment{{p: p, offset: at, epoch: epoch, meta: next.String()}})
		if err == nil {
			t.mu.Lock()
			p.crash = next
			t.mu.Unlock()
		}
		return err
	})
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.gone || p.moving {
		return
	}
	p.crash.begun = true
	if p.crash.until > 0 {
		c.s.log.Warn("a partition's last owners died without progress: its records are handled one at a time",
			"partition", p.id, "starts", p.crash.starts, "until", p.crash.until)
		p.classify(p.pending, c.s.cfg.MaxDeliveries)
	}
	c.s.admit(p.release())
}

// mark writes that the record is about to be handled alone. It reports false
// when it is not to be handled any more.
func (c *committer) mark(e *entry) bool {
	t, p := c.s.table, e.p
	return c.untilDone(p, func(ctx context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		t.mu.Lock()
		at := p.position()
		if at == noOffset {
			at = e.delivery.Offset
		}
		if at > p.committed {
			p.crash.progress(at)
		}
		p.crash.marks(e.delivery.Offset)
		all := []commitment{{p: p, offset: at, epoch: p.epoch, meta: p.crash.String()}}
		if p.gone || p.moving {
			all = nil
		}
		t.mu.Unlock()
		return c.write(ctx, all)
	})
}

// unmark writes that the partition has come further, or that it has not: then
// it goes in peace when it goes.
func (c *committer) unmark(p *partition) {
	c.untilDone(p, c.flush)
}

// untilDone tries until it works, the partition moves or the drain begins.
func (c *committer) untilDone(p *partition, try func(context.Context) error) bool {
	ctx, cancel := transport.Until(p.live, p.limited)
	defer cancel()
	var pause transport.Backoff
	for ctx.Err() == nil {
		err := try(ctx)
		if err == nil {
			return ctx.Err() == nil
		}
		if ctx.Err() == nil && !rebalancing(err) {
			c.state.Down(c.s.log, refused(err))
		}
		pause.Wait(ctx)
	}
	return false
}

// write sends one request and notes what it achieved. It is called with mu
// held.
func (c *committer) write(ctx context.Context, all []commitment) error {
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	offsets := make(map[int32]kgo.EpochOffset, len(all))
	meta := make(map[int32]string, len(all))
	for _, m := range all {
		offsets[m.p.id] = kgo.EpochOffset{Epoch: m.epoch, Offset: m.offset}
		meta[m.p.id] = m.meta
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				text := meta[p.Partition]
				p.Metadata = &text
			}
		}
		return nil
	})
	failed := make(map[int32]error)
	var whole error
	answered := func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			whole = err
			return
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed[p.Partition] = err
				}
			}
		}
	}
	if c.s.joining.Load() {
		resp, err := c.commitAside(ctx, offsets, meta)
		answered(nil, nil, resp, err)
	} else {
		c.s.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{c.s.topic: offsets}, answered)
	}
	if whole != nil {
		return whole
	}
	c.s.stats.commits.Add(1)
	t := c.s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	var first error
	for _, m := range all {
		if err := failed[m.p.id]; err != nil {
			first = err
			continue
		}
		m.p.committed, m.p.said = m.offset, m.meta
	}
	return first
}

// rebalancing reports the answers that mean that the group is about to tell
// this member something: they are no trouble to be logged.
func rebalancing(err error) bool {
	answer, ok := kerrOf(err)
	if !ok {
		return false
	}
	switch answer {
	case kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch:
		return true
	}
	return false
}
