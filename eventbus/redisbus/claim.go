package redisbus

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// ownPending is the search for what this consumer has read and not finished:
// after a start, that of its predecessor of the same name, which counts as a
// delivery, because it may have died of it; after a broken connection what the
// server sent into it, which does not.
type ownPending struct {
	due     bool
	counted bool
	limited bool // the rest waits for suspects to be settled
	cursor  string
}

// claimOwn claims a page of them, and reports whether there is another one.
func (r *reader) claimOwn(ctx context.Context, room int) (again bool, err error) {
	if r.own.limited && !r.suspectsFree() {
		return false, nil
	}
	if r.own.limited {
		r.own.limited, r.own.cursor = false, ""
	}
	rows, err := r.pending(ctx, r.own.cursor, 0, r.s.consumer, room)
	if err != nil {
		return false, err
	}
	got, limited, err := r.claimRows(ctx, rows, claim{counted: r.own.counted})
	if err != nil {
		return false, err
	}
	if len(got) > 0 {
		r.s.log.Info("own unfinished entries taken up again", "entries", len(got))
	}
	switch {
	case limited:
		r.own.limited = true
	case len(rows) < room:
		r.own = ownPending{}
	default:
		r.own.cursor = "(" + rows[len(rows)-1].ID
		return true, nil
	}
	return false, nil
}

// claimDead claims what consumers left that give no sign of life any more.
func (r *reader) claimDead(ctx context.Context) error {
	now := time.Now()
	due := !now.Before(r.watchAt) || r.hurried && r.suspectsFree()
	if !due {
		r.losses.hurry(ctx, r)
		return nil
	}
	claimed, limited := 0, false
	for page, after := 0, ""; page < watchPages && claimed == 0; page++ {
		rows, err := r.pending(ctx, after, r.s.cfg.PendingIdleTime, "", r.s.cfg.BatchSize)
		if err != nil {
			return err
		}
		got, more, err := r.claimRows(ctx, rows, claim{counted: true, minIdle: r.s.cfg.PendingIdleTime})
		if err != nil {
			return err
		}
		claimed, limited = claimed+len(got), limited || more
		if len(rows) < r.s.cfg.BatchSize {
			break
		}
		after = "(" + rows[len(rows)-1].ID // a page full of suspects hides nobody
	}
	if claimed > 0 {
		r.s.stats.claimed.Add(int64(claimed))
		r.s.log.Info("entries that other consumers left claimed", "entries", claimed)
	}
	r.hurried = limited
	if claimed == 0 || limited {
		r.watchAt = now.Add(min(r.s.cfg.PendingIdleTime/4, longestWatch))
		r.losses.watch(ctx, r, false)
	}
	return nil
}

// watchPages bounds how far one look goes when nothing on the first pages can
// be claimed yet.
const watchPages = 10

// pending lists entries that are read and not acknowledged: from after, idle
// for at least minIdle, of one consumer or of all.
func (r *reader) pending(ctx context.Context, after string, minIdle time.Duration, consumer string, count int) ([]redis.XPendingExt, error) {
	rows, err := r.cmd.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: r.s.topic, Group: r.s.cfg.ConsumerGroup, Idle: minIdle,
		Start: cmp.Or(after, "-"), End: "+", Count: int64(count), Consumer: consumer,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return rows, err
}

// claim says how to claim.
type claim struct {
	counted bool          // as a delivery
	minIdle time.Duration // on the server, so that one of several claimers wins
	run     *recovery     // on whose behalf; nil for none
}

// isolation returns how many entries that were delivered count times, and not
// finished, may be handled at once here: all; as many as there are workers; one.
//
// A process takes a whole batch with it when one entry kills it. If all of them
// were taken up together again and again, all would seem to be killers after
// MaxDeliveries rounds. So the oftener an entry was there, the fewer others it
// is handled with, and alone at the latest when one more death would be too many.
func (r *reader) isolation(count int64) (level, int) {
	alone := int64(3)
	if limit := int64(r.s.cfg.MaxDeliveries); limit != NoMaxDeliveries {
		alone = max(1, min(alone, limit-1))
	}
	switch {
	case count >= alone:
		return prime, 1
	case count <= 1:
		return fresh, r.s.cfg.MaxInFlight
	default:
		return suspect, r.s.cfg.Concurrency
	}
}

// apart reports whether an entry of that level must wait for those that are in
// flight: as many as may be handled at once are there, or suspects of another
// level, any of which may be what kills.
func apart(lvl level, most int, open [3]int) bool {
	switch lvl {
	case suspect:
		return open[suspect] >= most || open[prime] > 0
	case prime:
		return open[prime] >= most || open[suspect] > 0
	default:
		return false
	}
}

func (r *reader) suspectsFree() bool {
	open := r.s.table.suspectsOpen()
	return open[suspect] == 0 && open[prime] == 0
}

// claimRows claims the pending entries in rows that are not in flight here,
// and takes them in. limited reports that some were left for later.
func (r *reader) claimRows(ctx context.Context, rows []redis.XPendingExt, c claim) (got []*entry, limited bool, err error) {
	if len(rows) == 0 {
		return nil, false, nil
	}
	known := r.s.table.ids()
	open := r.s.table.suspectsOpen()
	room := r.s.table.room()
	groups := make(map[int64][]string)
	levels := make(map[string]level)
	var order []int64
	for _, row := range rows {
		if _, here := known[row.ID]; here {
			continue
		}
		c.run.check()
		before := row.RetryCount // deliveries before this one
		if !c.counted {
			before--
		}
		lvl, most := r.isolation(before)
		if r.over(int(before)+1) || c.run.over(before) {
			lvl = fresh // it will be buried, not handled
		} else if c.run == nil && apart(lvl, most, open) {
			limited = true
			continue
		}
		if room <= 0 {
			limited = true
			break
		}
		room--
		open[lvl]++
		levels[row.ID] = lvl
		if groups[row.RetryCount] == nil {
			order = append(order, row.RetryCount)
		}
		groups[row.RetryCount] = append(groups[row.RetryCount], row.ID)
	}
	for _, count := range order {
		batch, err := r.claimIDs(ctx, groups[count], count, c, levels)
		if err != nil {
			return got, limited, err
		}
		got = append(got, batch...)
	}
	return got, limited, nil
}

// claimIDs claims entries that were all delivered count times.
func (r *reader) claimIDs(ctx context.Context, ids []string, count int64, c claim, levels map[string]level) ([]*entry, error) {
	args := []any{"xclaim", r.s.topic, r.s.cfg.ConsumerGroup, r.s.consumer, c.minIdle.Milliseconds()}
	for _, id := range ids {
		args = append(args, id)
	}
	if c.counted {
		count++
	} else {
		args = append(args, "retrycount", count)
	}
	msgs, err := claimed(ctx, r.cmd, args)
	if err != nil {
		return nil, err
	}
	batch := make([]*entry, 0, len(msgs))
	there := make(map[string]bool, len(msgs))
	for _, m := range msgs {
		there[m.ID] = true
		e := r.entry(m.ID, fieldsOf(m.Values), int(count))
		e.level = levels[m.ID]
		if c.run != nil {
			e.run = c.run
			e.over = e.over || c.run.over(count-1)
			c.run.claim()
		}
		batch = append(batch, e)
	}
	r.s.admit(batch)
	if len(there) < len(ids) {
		r.missing(ctx, ids, there)
	}
	return batch, nil
}

// missing looks at entries that could not be claimed: another consumer was
// faster, or they are not in the stream any more.
func (r *reader) missing(ctx context.Context, ids []string, there map[string]bool) {
	var gone []string
	for _, id := range ids {
		if there[id] {
			continue
		}
		found, err := r.cmd.XRangeN(ctx, r.s.topic, id, id, 1).Result()
		if err == nil && len(found) == 0 {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return
	}
	// Redis 7 has forgotten them; before it they would be found for ever.
	_ = r.cmd.XAck(ctx, r.s.topic, r.s.cfg.ConsumerGroup, gone...).Err()
	r.s.stats.lost.Add(int64(len(gone)))
	r.s.log.Error("unfinished entries were trimmed or deleted before they could be handled again", "entries", len(gone))
}

// claimed runs an XCLAIM. go-redis' own method cannot read its answer before
// Redis 7, which has a null for each entry that is not in the stream any more.
func claimed(ctx context.Context, c redis.Cmdable, args []any) ([]redis.XMessage, error) {
	// Every Cmdable of go-redis is a processor, but the interface does not say.
	p, ok := c.(interface {
		Process(ctx context.Context, cmd redis.Cmder) error
	})
	if !ok {
		return nil, errors.New("redisbus: the client cannot run commands")
	}
	cmd := redis.NewSliceCmd(ctx, args...)
	if err := p.Process(ctx, cmd); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	msgs := make([]redis.XMessage, 0, len(cmd.Val()))
	for _, reply := range cmd.Val() {
		pair, _ := reply.([]any)
		if len(pair) != 2 {
			continue
		}
		id, _ := pair[0].(string)
		fields, _ := pair[1].([]any)
		values := make(map[string]any, len(fields)/2)
		for i := 0; i+1 < len(fields); i += 2 {
			key, _ := fields[i].(string)
			values[key] = fields[i+1]
		}
		msgs = append(msgs, redis.XMessage{ID: id, Values: values})
	}
	return msgs, nil
}
