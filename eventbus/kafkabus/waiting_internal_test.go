package kafkabus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A tally of records that come bit by bit is what a look at all of them says,
// with holes between them, marks of what was and of what is yet to come, a purge,
// and a beginning that retention moves.
func TestTally_IsWhatAReadOfAllFinds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var all []*kgo.Record
		var start, next int64
		bitByBit := &tally{}
		next = rnd.Int64N(200)
		for range 400 {
			r := &kgo.Record{Offset: next, Value: []byte("{}")}
			mark := func(header, value string) {
				r.Value, r.Headers = nil, []kgo.RecordHeader{{Key: header, Value: []byte(value)}}
			}
			switch rnd.IntN(20) {
			case 0, 1, 2, 3, 4:
				mark(headerRemoved, fmt.Sprintf("%d,%d,x", rnd.Int64N(next+1), rnd.Int64N(next+1)))
			case 5:
				mark(headerRemoved, strconv.FormatInt(next+rnd.Int64N(5), 10))
			case 6:
				if rnd.IntN(5) == 0 {
					mark(headerRemovedBefore, strconv.FormatInt(rnd.Int64N(next+10), 10))
				}
			case 7:
				if rnd.IntN(5) == 0 {
					start += rnd.Int64N(next - start + 1)
					bitByBit.trim(start)
				}
			}
			all = append(all, r)
			bitByBit.take(r)
			next += 1 + rnd.Int64N(3)*rnd.Int64N(40)/30
			if got, want := bitByBit.n, look(all, start); got != want {
				t.Fatalf("seed %d: after the record at %d %d letters wait, want %d", seed, r.Offset, got, want)
			}
		}
		if bitByBit.next != all[len(all)-1].Offset+1 {
			t.Errorf("seed %d: it reads on from %d", seed, bitByBit.next)
		}
	}
}

// look counts as [Store.Count] does.
func look(all []*kgo.Record, start int64) int64 {
	var letters []int64
	gone := newRemovals()
	for _, r := range all {
		if !gone.read(r) && r.Offset >= start {
			letters = append(letters, r.Offset)
		}
	}
	return int64(len(slices.DeleteFunc(letters, gone.has)))
}
