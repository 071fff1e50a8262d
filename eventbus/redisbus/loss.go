package redisbus

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// lossWatch finds out whether entries were trimmed (or deleted) before this
// group read them. Redis 7 counts how many entries a stream ever had and how
// many a group has read. Where the group stands among all entries is known
// when it has read everything, and when all that it has read is gone; then the
// difference is what it never saw.
//
// Redis 8 counts what was trimmed as read as soon as the group reads on behind
// it. So while the trimming is near to where the group is, the look comes
// before each read; otherwise now and then.
type lossWatch struct {
	active bool // something was read since the last look
	looked bool
	before int64 // removed at the first look, for a group that has read nothing
	total  int64 // as far as it is reported

	near    bool
	removed int64 // at the last look
}

// hurry looks before a read that might go past a gap.
func (w *lossWatch) hurry(ctx context.Context, r *reader) {
	if w.near {
		w.watch(ctx, r, false)
	}
}

// watch looks, on an idle stream only when something was read since.
func (w *lossWatch) watch(ctx context.Context, r *reader, idle bool) {
	if idle && !w.active {
		return
	}
	w.active = false
	pipe := r.cmd.Pipeline()
	stream, listed := pipe.XInfoStream(ctx, r.s.topic), pipe.XInfoGroups(ctx, r.s.topic)
	// Nothing depends on the answers: an error shows where something does.
	if _, err := pipe.Exec(ctx); err != nil {
		return
	}
	info := stream.Val()
	if info.EntriesAdded == 0 {
		return // before Redis 7, or nothing there
	}
	for _, g := range listed.Val() {
		if g.Name == r.s.cfg.ConsumerGroup {
			w.compare(r, info, g)
		}
	}
}

func (w *lossWatch) compare(r *reader, info *redis.XInfoStream, g redis.XInfoGroup) {
	first := !w.looked
	removed := info.EntriesAdded - info.Length
	read := g.EntriesRead
	if g.LastDeliveredID == "0-0" {
		if first {
			w.before = removed // the group may be younger than those
		}
		read = w.before
	} else if read == 0 {
		return // somebody moved the group, and Redis has lost count
	}
	w.near = read-removed <= max(int64(r.s.cfg.BatchSize), 2*(removed-w.removed))
	w.removed = removed
	var total int64
	gap := false
	switch {
	case g.LastDeliveredID == info.LastGeneratedID:
		total = info.EntriesAdded - read
	case info.Length == 0, compareIDs(info.FirstEntry.ID, g.LastDeliveredID) > 0:
		total, gap = removed-read, true
	default:
		return
	}
	w.looked = true
	switch {
	case total < w.total, first && !gap:
		// Redis counted anew; or an old loss, which was reported in its time.
		w.total = total
	case total > w.total:
		lost := total - w.total
		w.total = total
		r.s.stats.lost.Add(lost)
		r.s.log.Error("entries were trimmed or deleted before this group read them", "entries", lost)
	}
}
