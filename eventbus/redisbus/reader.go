package redisbus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/transport"
	"github.com/leat-go/leat/middleware"
)

// fillAfter is how long the reader waits for room for a whole batch before it
// reads what fits.
const fillAfter = 10 * time.Millisecond

// longestWatch bounds how long dead consumers' entries lie before somebody
// looks, whatever the PendingIdleTime is.
const longestWatch = 10 * time.Second

// reader is the one goroutine of a subscription that brings entries in, in
// this order: what this consumer has not finished, what dead consumers left,
// what is new. Claiming costs two commands between two reads, so that it delays
// new entries by no more than that.
type reader struct {
	s      *subscription
	conn   *readConn
	cmd    redis.Cmdable // nil: not connected
	block  time.Duration
	intake intake
	state  transport.State
	ended  chan struct{}
	away   atomic.Bool // there is no connection: others need not try either

	own       ownPending
	watchAt   time.Time // when to look for dead consumers' entries
	hurried   bool      // more of them wait for the suspects to be settled
	losses    lossWatch
	recreated bool // the group was made anew: it delivers what is in flight again

	mu    sync.Mutex
	asked []*recovery // RecoverPending calls under way
}

func newReader(s *subscription) *reader {
	return &reader{
		s:     s,
		conn:  &readConn{shared: s.cfg.Client, stream: s.topic},
		state: transport.State{What: "reading"},
		own:   ownPending{due: true, counted: true},
		ended: make(chan struct{}),
	}
}

// run reads until ctx ends. No error ends it: each is a state to wait in.
func (r *reader) run(ctx context.Context) {
	defer close(r.ended)
	defer r.away.Store(false) // nobody knows any more
	defer r.conn.close()
	var pause transport.Backoff
	for ctx.Err() == nil {
		err := r.step(ctx)
		if err == nil {
			pause = transport.Backoff{}
			continue
		}
		if ctx.Err() != nil || r.mend(ctx, err) {
			continue
		}
		r.state.Down(r.s.log, refused(err))
		pause.Wait(ctx)
	}
}

// step does the next thing.
func (r *reader) step(ctx context.Context) error {
	if r.cmd == nil {
		if err := r.connect(ctx); err != nil {
			return err
		}
	}
	room := r.awaitRoom(ctx)
	if room == 0 {
		return nil
	}
	if r.own.due {
		again, err := r.claimOwn(ctx, room)
		if err != nil || again {
			return err
		}
	}
	if err := r.claimDead(ctx); err != nil {
		return err
	}
	if err := r.serveRequests(ctx); err != nil {
		return err
	}
	if room = r.s.table.room(); room <= 0 {
		return nil
	}
	return r.readNew(ctx, min(room, r.s.cfg.BatchSize))
}

// mend reports whether it could do something about the error at once.
func (r *reader) mend(ctx context.Context, err error) bool {
	switch serverError(err) {
	case "NOGROUP":
		return r.recreate(ctx)
	case "UNBLOCKED": // the stream was deleted under a blocked read
		return true
	case "":
		// The connection. What the server sent into it is pending and unseen.
		// Once, it is tried again without a pause: mostly it was only cut.
		r.disconnect()
		return r.state.Down(r.s.log, refused(err))
	default:
		if _, shared := r.cmd.(*redis.Conn); !shared {
			return false
		}
		// A failover may have moved the stream: find its server anew.
		r.disconnect()
		return false
	}
}

func (r *reader) disconnect() {
	r.away.Store(true)
	r.conn.close()
	r.cmd = nil
	r.own.due, r.own.cursor = true, ""
}

func (r *reader) connect(ctx context.Context) error {
	cmd, block, err := r.conn.open(ctx, r.s.cfg.BlockTime)
	if err != nil {
		return err
	}
	r.cmd, r.block = cmd, block
	r.away.Store(false)
	return nil
}

// works notes that the server answered, after the first useful answer only:
// one that accepts connections may still refuse to work.
func (r *reader) works() {
	if r.state.Up(r.s.log) {
		r.s.stats.reconnections.Add(1)
	}
}

// recreate makes the group again, from the beginning of the stream: what was
// not handled before it was deleted is still there.
func (r *reader) recreate(ctx context.Context) bool {
	if err := createGroup(ctx, r.s.cfg.Client, r.s.topic, r.s.cfg.ConsumerGroup); err != nil {
		return false
	}
	r.s.log.Warn("the consumer group was gone and was created again, from the beginning of the stream")
	r.s.stats.recreations.Add(1)
	r.recreated = true
	r.losses = lossWatch{}
	return true
}

// createGroup makes stream and group if they are not there.
func createGroup(ctx context.Context, client redis.Cmdable, stream, group string) error {
	err := client.XGroupCreateMkStream(ctx, stream, group, "0").Err()
	if err == nil || serverError(err) == "BUSYGROUP" {
		return nil
	}
	return refused(err)
}

// awaitRoom returns how many entries may be read; 0 when there is something
// else to do.
func (r *reader) awaitRoom(ctx context.Context) int {
	want := max(1, min(r.s.cfg.BatchSize, r.s.cfg.MaxInFlight/2))
	fill := time.NewTimer(fillAfter)
	defer fill.Stop()
	filled := false
	for {
		room := r.s.table.room()
		if room >= want || room > 0 && filled {
			return room
		}
		select {
		case <-r.s.table.freed:
		case <-fill.C:
			filled = true
		case <-ctx.Done():
			return 0
		}
	}
}

// readNew reads what nobody in the group has read yet, and waits for it.
func (r *reader) readNew(ctx context.Context, count int) error {
	block := min(r.block, max(time.Millisecond, time.Until(r.watchAt)))
	if r.hurried || r.own.limited {
		block = min(block, pollTime)
	}
	if r.busy() {
		block = -1
	}
	select {
	case <-ctx.Done():
		return nil
	default:
	}
	batch, err := r.read(ctx, count, block)
	switch {
	case err != nil:
		return err
	case len(batch) == 0:
		r.works()
		r.losses.watch(ctx, r, true)
		return nil
	}
	r.works()
	r.admit(batch)
	return nil
}

// read reads at most count new entries. With block < 0 it does not wait for any.
func (r *reader) read(ctx context.Context, count int, block time.Duration) ([]*entry, error) {
	batch := make([]*entry, 0, count)
	if conn, own := r.cmd.(*redis.Conn); own {
		args := []any{"xreadgroup", "group", r.s.cfg.ConsumerGroup, r.s.consumer, "count", count}
		if block >= 0 {
			args = append(args, "block", block.Milliseconds())
		}
		r.intake.begin()
		cmd := redis.NewRawWriteToCmd(ctx, &r.intake, append(args, "streams", r.s.topic, ">")...)
		if err := conn.Process(ctx, cmd); err != nil {
			return nil, err
		}
		err := eachEntry(r.intake.b, func(id string, fields []field) {
			batch = append(batch, r.entry(id, fields, 1))
		})
		return batch, err
	}
	// What kind of client it is, is not known, so that it has to do the reading.
	read, err := r.cmd.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: r.s.cfg.ConsumerGroup, Consumer: r.s.consumer,
		Streams: []string{r.s.topic, ">"}, Count: int64(count), Block: block,
	}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	for _, stream := range read {
		for _, m := range stream.Messages {
			batch = append(batch, r.entry(m.ID, fieldsOf(m.Values), 1))
		}
	}
	return batch, nil
}

// admit takes new entries in.
func (r *reader) admit(batch []*entry) {
	if r.recreated {
		// The group was made anew while entries were in flight. It delivers them
		// again; their handlers still run, and their acks will do for both. If the
		// stream was made anew, too, within the same millisecond, another entry may
		// have the id.
		known := r.s.table.ids()
		r.recreated = len(known) > 0
		batch = slices.DeleteFunc(batch, func(e *entry) bool {
			uuid, ok := known[e.delivery.ID]
			return ok && uuid == e.msg.UUID
		})
	}
	if len(batch) > 0 {
		r.losses.active = true
		r.s.admit(batch)
	}
}

// entry makes an entry of what was read. count is the number of deliveries,
// this one included.
func (r *reader) entry(id string, fields []field, count int) *entry {
	msg, err := decode(id, fields)
	e := &entry{msg: msg, delivery: middleware.Delivery{
		System: System, Topic: r.s.topic, Group: r.s.cfg.ConsumerGroup, ID: id,
		Partition: dlq.NoPosition, Offset: dlq.NoPosition, Count: count, Malformed: err,
	}}
	if err == nil {
		e.delivery.Key = r.s.cfg.Key(msg)
	}
	e.over = r.over(count)
	return e
}

// over reports whether the count-th delivery is one too many.
func (r *reader) over(count int) bool {
	limit := r.s.cfg.MaxDeliveries
	return limit != NoMaxDeliveries && count > limit
}

// compareIDs orders entry ids, which are two decimal numbers each.
func compareIDs(a, b string) int {
	am, as, _ := strings.Cut(a, "-")
	bm, bs, _ := strings.Cut(b, "-")
	if c := compareDecimals(am, bm); c != 0 {
		return c
	}
	return compareDecimals(as, bs)
}

func compareDecimals(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
