package redisbus

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// handedBackIdle is the idle time that a drain gives to what it hands back, so
// that the next consumer that looks takes it, whatever its PendingIdleTime.
const handedBackIdle = time.Hour

// heartbeat tells the server, every third of PendingIdleTime, that the entries
// in flight are still held: an XCLAIM that resets their idle time and counts no
// delivery. It ends with ctx.
func (s *subscription) heartbeat(ctx context.Context) {
	tick := time.NewTicker(max(time.Millisecond, s.cfg.PendingIdleTime/3))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		entries := s.table.all()
		if len(entries) == 0 || s.read.away.Load() {
			continue
		}
		held, err := s.held(ctx, entries)
		if err != nil {
			// The reader tells about the connection; here nothing is lost but time.
			s.log.Debug("heartbeat failed", "error", err)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if err := s.reclaim(ctx, held, "justid"); err != nil {
			s.log.Debug("heartbeat failed", "error", err)
		}
	}
}

// held returns those of the entries that are still pending for this consumer,
// by their delivery count. The others are marked: a suspended process must not
// take back what its heirs handle.
func (s *subscription) held(ctx context.Context, entries []*entry) (map[int64][]string, error) {
	byID := make(map[string]*entry, len(entries))
	first, last := entries[0].delivery.ID, entries[0].delivery.ID
	for _, e := range entries {
		id := e.delivery.ID
		byID[id] = e
		if compareIDs(id, first) < 0 {
			first = id
		}
		if compareIDs(id, last) > 0 {
			last = id
		}
	}
	held := make(map[int64][]string)
	page := len(entries)
	for start := first; ; {
		rows, err := s.cfg.Client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: s.topic, Group: s.cfg.ConsumerGroup, Start: start, End: last, Count: int64(page), Consumer: s.consumer,
		}).Result()
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if _, ok := byID[row.ID]; ok {
				held[row.RetryCount] = append(held[row.RetryCount], row.ID)
				delete(byID, row.ID)
			}
		}
		if len(rows) < page || len(byID) == 0 {
			break
		}
		start = "(" + rows[len(rows)-1].ID
	}
	s.noteLost(byID)
	return held, nil
}

// noteLost counts entries that are in flight here and pending for somebody
// else, or for nobody: the group was deleted, or another consumer took over.
func (s *subscription) noteLost(byID map[string]*entry) {
	taken := 0
	for _, e := range byID {
		if s.table.lose(e) {
			taken++
		}
	}
	if taken > 0 {
		s.stats.takenOver.Add(int64(taken))
		s.log.Warn("entries that are being handled here are no longer pending for this consumer, and may be handled twice", "entries", taken)
	}
}

// reclaim has this consumer claim what it holds already, with the options of
// XCLAIM that are given.
func (s *subscription) reclaim(ctx context.Context, held map[int64][]string, options ...any) error {
	for _, ids := range held {
		args := []any{"xclaim", s.topic, s.cfg.ConsumerGroup, s.consumer, 0}
		for _, id := range ids {
			args = append(args, id)
		}
		if err := s.cfg.Client.Do(ctx, append(args, options...)...).Err(); err != nil {
			return err
		}
	}
	return nil
}

// handBack makes unfinished entries look long idle, so that others take them at
// once, and takes back the count of their delivery: a shutdown is no crash.
// With lost replies, what is pending and unseen is handed back too. It is done
// or given up when ctx ends.
func (s *subscription) handBack(ctx context.Context, entries []*entry, unseen bool) {
	ctx, cancel := context.WithTimeout(ctx, transport.Grace)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.markIdle(ctx, entries, unseen)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (s *subscription) markIdle(ctx context.Context, entries []*entry, unseen bool) {
	held := make(map[int64][]string)
	var err error
	switch {
	case unseen:
		held, err = s.heldUnsettled(ctx)
	case len(entries) > 0:
		held, err = s.held(ctx, entries)
	}
	for count, ids := range held {
		if err == nil {
			err = s.reclaim(ctx, map[int64][]string{count: ids},
				"idle", max(handedBackIdle, 2*s.cfg.PendingIdleTime).Milliseconds(), "retrycount", max(0, count-1), "justid")
		}
	}
	if err != nil {
		s.log.Warn("drain: what is handed back could not be marked, and waits for its idle time", "entries", len(entries), "error", refused(err))
	}
}

// heldUnsettled lists all that is pending for this consumer and not handled.
func (s *subscription) heldUnsettled(ctx context.Context) (map[int64][]string, error) {
	rows, err := s.cfg.Client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: s.topic, Group: s.cfg.ConsumerGroup, Start: "-", End: "+",
		Count: int64(2*s.cfg.MaxInFlight + s.cfg.BatchSize), Consumer: s.consumer,
	}).Result()
	if err != nil {
		return nil, err
	}
	settled := s.table.ids()
	for _, e := range s.table.unsettled() {
		delete(settled, e.delivery.ID)
	}
	held := make(map[int64][]string)
	for _, row := range rows {
		if _, ok := settled[row.ID]; !ok {
			held[row.RetryCount] = append(held[row.RetryCount], row.ID)
		}
	}
	return held, nil
}
