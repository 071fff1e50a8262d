package kafkabus

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/middleware"
)

// pollRecords bounds what one poll brings in: it is the part of MaxInFlight
// that must be free when a partition is not paused.
const pollRecords = 500

// patienceForRoom is how long the other partitions wait for a full one before
// it is paused.
const patienceForRoom = 20 * time.Millisecond

// poll reads until ctx ends. No error ends it: each is a state to wait in.
func (s *subscription) poll(ctx context.Context) {
	var pause transport.Backoff
	limit := min(pollRecords, max(1, s.cfg.MaxInFlight/2))
	for ctx.Err() == nil {
		s.makeRoom(ctx, limit)
		fetches := s.client.PollRecords(ctx, limit)
		if fetches.IsClientClosed() {
			return
		}
		var failed error
		fetches.EachError(func(_ string, id int32, err error) {
			if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				failed = s.readFailed(id, err)
			}
		})
		read := 0
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err == nil && p.Topic == s.topic {
				read += len(p.Records)
				s.take(p.FetchPartition)
			}
		})
		s.client.AllowRebalance()
		if read > 0 {
			s.readState.Up(s.log)
			pause = transport.Backoff{}
		}
		if failed != nil {
			if !unheard(failed) { // else the loss of the connection is told already
				s.readState.Down(s.log, failed)
			}
			s.recreate(ctx, failed)
			pause.Wait(ctx)
		}
	}
}

func (s *subscription) readFailed(id int32, err error) error {
	var lost *kgo.ErrDataLoss
	if errors.As(err, &lost) {
		s.log.Error("records were lost on the brokers", "partition", id, "error", err)
		return nil
	}
	return refused(err)
}

// unheard reports whether the group could not be asked, as opposed to what it
// answered.
func unheard(err error) bool {
	var session *kgo.ErrGroupSession
	_, answered := kerrOf(err)
	return errors.As(err, &session) && !answered
}

// recreate makes a topic that was deleted anew, if that is allowed, and begins
// with one that was made anew, by whomever.
func (s *subscription) recreate(ctx context.Context, err error) {
	if !missing(err) {
		return
	}
	if !s.cfg.Topics.DisableCreation {
		if _, err := ensureTopic(ctx, s.client, s.topic, s.cfg.Topics); err != nil {
			s.log.Debug("topic was not created anew", "error", err)
			return
		}
	}
	if madeAnew(err) {
		s.beginAnew()
	}
}

// beginAnew gives up what is in hand, for its offsets mean other records now,
// and reads the new topic from where a new group would.
func (s *subscription) beginAnew() {
	parts := s.table.all()
	if len(parts) == 0 {
		return // it is about to
	}
	s.log.Error("the topic was deleted: what was in it and not handled is gone")
	s.table.move(parts)
	for _, p := range parts {
		p.kill(ErrPartitionLost)
	}
	s.drop(parts)
	s.client.PurgeTopicsFromClient(s.topic)
	s.client.AddConsumeTopics(s.topic)
}

// take brings the records of one partition into its window and the lanes.
func (s *subscription) take(f kgo.FetchPartition) {
	if len(f.Records) == 0 {
		return
	}
	t := s.table
	t.mu.Lock()
	p := t.parts[f.Partition]
	if p == nil || p.moving || p.gone {
		t.mu.Unlock()
		return
	}
	expected, unsure := p.next, p.unsure
	t.mu.Unlock()
	if expected != noOffset && f.LogStartOffset > expected {
		n := f.LogStartOffset - expected
		s.stats.lost.Add(n)
		s.log.Error("records were removed by the brokers before they were read", "partition", f.Partition, "records", n, "from", expected)
	}
	batch := make([]*entry, len(f.Records))
	for i, r := range f.Records {
		batch[i] = s.entry(p, r)
		if r.Offset < unsure {
			batch[i].delivery.Count = 0
		}
	}
	work := open(batch)
	if !s.accept(p, batch, work) {
		return
	}
	if len(work) < len(batch) {
		s.commits.wake(len(work) == 0) // tombstones are done at once
	}
}

// makeRoom waits a moment for partitions that are full, and pauses those that
// stay so. A pause throws away what the client has fetched already; so it is for
// what is stuck, not for what is only busy.
func (s *subscription) makeRoom(ctx context.Context, limit int) {
	timer := time.NewTimer(patienceForRoom)
	defer timer.Stop()
	for {
		full := s.table.full(s.cfg.MaxInFlight-limit+1, s.cfg.MaxInFlightBytes)
		if len(full) == 0 {
			return
		}
		select {
		case <-s.table.freed:
			continue
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if s.lanes.Ready() >= s.cfg.Concurrency { // nobody waits for other partitions
			timer.Reset(patienceForRoom)
			continue
		}
		for _, p := range full {
			s.stats.pauses.Add(1)
			s.table.pause(p)
			s.client.PauseFetchPartitions(map[string][]int32{s.topic: {p.id}})
			s.resumeIfRoomy(p)
		}
		return
	}
}

// accept puts what was read where it belongs, and reports false when that is
// nowhere any more.
func (s *subscription) accept(p *partition, batch, work []*entry) bool {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.moving || p.gone {
		return false
	}
	if batch[0].delivery.Offset < p.next {
		p.cut()
	}
	p.next = batch[len(batch)-1].delivery.Offset + 1
	p.add(batch)
	switch {
	case s.cfg.MaxDeliveries == NoMaxDeliveries:
		s.admit(work)
	case !p.crash.begun:
		p.pending = append(p.pending, work...)
		if !p.crash.asked && len(work) > 0 {
			p.crash.asked = true
			at := p.position()
			if at == noOffset {
				at = work[0].delivery.Offset
			}
			s.begins.Go(func() { s.commits.begin(p, at) })
		}
	case p.crash.until > 0 || len(p.pending) > 0 || p.busy:
		p.classify(work, s.cfg.MaxDeliveries)
		p.pending = append(p.pending, work...)
		s.admit(p.release())
	default:
		s.admit(work)
	}
	return true
}

// resumeIfRoomy undoes a pause that came later than what would have ended it.
func (s *subscription) resumeIfRoomy(p *partition) {
	t := s.table
	t.mu.Lock()
	roomy := p.paused && p.roomy(s.cfg.MaxInFlight, s.cfg.MaxInFlightBytes)
	if roomy || !p.paused {
		p.paused = false
		roomy = true
	}
	t.mu.Unlock()
	if roomy {
		s.client.ResumeFetchPartitions(map[string][]int32{s.topic: {p.id}})
	}
}

// classify tells which of the records must be handled alone, and which was
// caught. It is called with the table locked.
func (p *partition) classify(batch []*entry, limit int) {
	for _, e := range batch {
		offset := e.delivery.Offset
		if !p.crash.suspect(offset) {
			continue
		}
		e.careful = true
		deaths := p.crash.deaths(offset)
		e.delivery.Count = 0
		if p.crash.before.mark == offset {
			e.delivery.Count = deaths + 1
			e.over = deaths >= limit
		}
	}
}

func (s *subscription) entry(p *partition, r *kgo.Record) *entry {
	e := &entry{p: p, epoch: r.LeaderEpoch, size: len(r.Key) + len(r.Value) + 256}
	e.delivery = middleware.Delivery{
		System: System, Topic: r.Topic, Group: s.cfg.ConsumerGroup, ID: position(r.Partition, r.Offset),
		Partition: r.Partition, Offset: r.Offset, Count: 1,
	}
	if tombstone(r) {
		e.settled, e.empty = true, true
		s.stats.tombstones.Add(1)
		return e
	}
	msg, err := decode(r)
	e.msg, e.delivery.Malformed = msg, err
	for _, h := range r.Headers {
		e.size += len(h.Key) + len(h.Value) + 32
	}
	switch {
	case s.cfg.Key != nil:
		e.delivery.Key = s.cfg.Key(msg)
	case len(r.Key) > 0:
		e.delivery.Key = string(r.Key)
	default:
		e.delivery.Key = keyOf(msg)
	}
	return e
}

// open leaves out what needs no handler.
func open(batch []*entry) []*entry {
	if countOpen(batch) == len(batch) {
		return batch
	}
	var list []*entry
	for _, e := range batch {
		if !e.settled {
			list = append(list, e)
		}
	}
	return list
}

func countOpen(batch []*entry) int {
	n := 0
	for _, e := range batch {
		if !e.settled {
			n++
		}
	}
	return n
}
