package main

import (
	"context"
	"fmt"
	"time"
)

// quiet is how long nothing may move before the broker is asked whether
// anything is still to come.
const quiet = 100 * time.Millisecond

// settle waits until every run of a handler that is due has happened or become
// a dead letter; after a crash, until the group has acknowledged all, so that
// what is handled twice is seen. It gives up when the broker has nothing more to
// give, or nothing has moved for as long as the patience lasts: the check at the
// end tells what is missing.
func (p *program) settle(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var buried int64
	last, since, asked := -1, time.Now(), time.Now()
	for {
		if n := p.bus.Stats().MessagesSentToDLQ; n != buried {
			if err := p.bury(ctx); err != nil {
				return err
			}
			buried, since = n, time.Now()
		}
		due, happened, crashes := p.tally.state()
		p.awaited = crashes
		if due == 0 && crashes == 0 {
			return nil
		}
		if happened != last {
			last, since = happened, time.Now()
		}
		if now := time.Now(); p.group != nil && now.Sub(asked) > quiet && (due == 0 || now.Sub(since) > quiet) {
			asked = now
			if n, err := p.group.unsettled(ctx); err == nil && n <= 0 {
				// Other processes bury, too.
				if err := p.bury(ctx); err != nil || n == 0 {
					return err
				}
			}
		}
		patience := p.opt.patience
		if crashes > 0 {
			patience += 2 * p.takeover // nothing moves until it counts as dead
		}
		if time.Since(since) > patience {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *program) bury(ctx context.Context) error {
	if _, _, err := p.tally.bury(ctx, p.bus.DeadLetters()); err != nil {
		return fmt.Errorf("list the dead letters: %w", err)
	}
	return nil
}
