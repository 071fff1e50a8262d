package kafkabus

import (
	"context"
	"math/bits"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// waitingBytes bounds what one count of the waiting letters reads: it is made
// at each collection of metrics, in each process.
const waitingBytes = 8 << 20

// waiting counts the letters of a topic again and again, for metrics. It
// remembers which records are letters that wait, one bit each, so that a count
// reads what came since the one before, and nothing when nothing came. It may
// be used from many goroutines.
type waiting struct {
	store *Store
	limit int // waitingBytes

	mu    sync.Mutex
	topic kadm.TopicID
	parts map[int32]*tally
	told  bool // all was read once
}

func (s *Store) waiting() *waiting {
	return &waiting{store: s, limit: waitingBytes, parts: map[int32]*tally{}}
}

// count returns how many letters wait, and -1 until the whole topic was read
// once. When more came since than one count reads, it is the number at the
// moment that it has got to.
func (w *waiting) count(ctx context.Context) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, err := w.store.view(ctx)
	if err != nil {
		return 0, w.store.failed("count waiting letters", err)
	}
	if w.topic != v.topic.ID { // made anew: offsets mean other records now
		w.topic, w.parts = v.topic.ID, map[int32]*tally{}
	}
	all, left := true, w.limit
	var n int64
	for _, part := range v.parts {
		t := w.parts[part.id]
		if t == nil || part.end < t.next { // records were lost on the brokers
			t = &tally{}
			w.parts[part.id] = t
		}
		t.trim(part.start)
		if t.next < part.end {
			if left, err = w.read(ctx, v, part, t, left); err != nil {
				return 0, w.store.failed("count waiting letters", err)
			}
		}
		all = all && t.next >= part.end
		n += t.n
	}
	w.told = w.told || all
	if !w.told {
		return -1, nil
	}
	return n, nil
}

// read reads on in one partition, about as many bytes as are left.
func (w *waiting) read(ctx context.Context, v view, part span, t *tally, left int) (int, error) {
	if left <= 0 {
		return left, nil
	}
	err := w.store.scan(ctx, v, part, t.next, part.end, func(r *kgo.Record) bool {
		t.take(r)
		left -= len(r.Key) + len(r.Value) + recordOverhead
		return left > 0
	})
	if err == nil && left > 0 {
		t.next = part.end // what is last may be no record
	}
	return left, err
}

// recordOverhead is about what a record's headers have, so that many small ones
// are bounded too.
const recordOverhead = 256

// tally is the letters of one partition that wait.
type tally struct {
	base  int64    // offset of the first bit, a multiple of 64
	next  int64    // offset to read on from
	bits  []uint64 // set: a letter that waits
	n     int64    // how many are set
	ahead map[int64]struct{}
}

// take notes the record at or after next.
func (t *tally) take(r *kgo.Record) {
	gone := newRemovals()
	isMark := gone.read(r)
	t.next = r.Offset + 1
	if !isMark {
		if _, never := t.ahead[r.Offset]; !never {
			t.set(r.Offset)
		}
		delete(t.ahead, r.Offset)
		return
	}
	t.trim(gone.before)
	for offset := range gone.offsets {
		switch {
		case offset < t.next:
			t.clear(offset)
		case t.ahead == nil:
			t.ahead = map[int64]struct{}{offset: {}}
		default: // removed before it came, as a list of the letters sees it too
			t.ahead[offset] = struct{}{}
		}
	}
}

func (t *tally) set(offset int64) {
	if len(t.bits) == 0 {
		t.base = offset &^ 63
	}
	at := offset - t.base
	for int64(len(t.bits)) <= at/64 {
		t.bits = append(t.bits, 0)
	}
	t.bits[at/64] |= 1 << (at % 64)
	t.n++
}

func (t *tally) clear(offset int64) {
	at := offset - t.base
	if at < 0 || at/64 >= int64(len(t.bits)) {
		return
	}
	if bit := uint64(1) << (at % 64); t.bits[at/64]&bit != 0 {
		t.bits[at/64] &^= bit
		t.n--
	}
}

// trim forgets what is before an offset: it was purged, or retention took it.
func (t *tally) trim(before int64) {
	for len(t.bits) > 0 && t.base < before {
		mask := ^uint64(0)
		if whole := before - t.base; whole < 64 {
			mask = 1<<whole - 1
		}
		t.n -= int64(bits.OnesCount64(t.bits[0] & mask))
		t.bits[0] &^= mask
		if before < t.base+64 {
			return
		}
		t.base, t.bits = t.base+64, t.bits[1:]
	}
}
