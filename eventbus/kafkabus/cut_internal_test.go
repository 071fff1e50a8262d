package kafkabus

import (
	"testing"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// What a partition knows of the offsets means nothing when its log begins again
// before them; what is in hand is still of use.
func TestPartition_Cut(t *testing.T) {
	t.Parallel()
	p := newPartition(t.Context(), 0)
	p.done, p.committed = 10, 9
	p.crash = inherit("leat1;s=2;m=9;t=1")
	p.cut()
	if at := p.position(); at != noOffset || p.crash.String() != "" {
		t.Errorf("position %d, mark %q; want none", at, p.crash.String())
	}
	p.done, p.committed = 10, 9
	p.crash = inherit("leat1;s=2;m=9;t=1")
	p.crash.asked = true // this owner's own
	p.add([]*entry{{p: p}})
	p.cut()
	if at := p.position(); at != 10 || p.committed != noOffset || p.crash.starts != 2 {
		t.Errorf("with a record in hand: position %d, committed %d, %d starts; want 10, none, 2", at, p.committed, p.crash.starts)
	}
}

// A pause of a partition that went meanwhile is undone: it would last into the
// time of its next owner, which may be this member again.
func TestPartition_OneThatWentHasRoom(t *testing.T) {
	t.Parallel()
	s := &subscription{table: newTable(), stats: &counters{}, ending: transport.NewEnding(0)}
	s.commits = newCommitter(s)
	p := newPartition(t.Context(), 0)
	s.table.parts[0] = p
	p.add([]*entry{{p: p, size: 100}})
	s.forget([]*partition{p})
	if !p.roomy(2, 100) {
		t.Errorf("%d records and %d bytes are left in it", len(p.window), p.bytes)
	}
}
