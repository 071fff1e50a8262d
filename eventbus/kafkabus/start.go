package kafkabus

import (
	"cmp"
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// atEnd is the offset of which the client asks the brokers where the end is.
const atEnd = -1

// fixStart commits where the group begins with [Latest], before anything is
// read. Without that the next owner of a partition would begin at the end as it
// is then: what came between, and what was handed back, would be nobody's.
func (s *subscription) fixStart(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	starts := offsets[s.topic]
	fresh := false
	for _, o := range starts {
		fresh = fresh || o.EpochOffset().Offset == atEnd
	}
	if !fresh {
		return offsets, nil
	}
	list := kadm.NewClient(s.cfg.Client).ListEndOffsets
	if s.cfg.ReadCommitted {
		list = kadm.NewClient(s.cfg.Client).ListCommittedOffsets
	}
	ends, err := list(ctx, s.topic)
	if err = cmp.Or(err, ends.Error()); err != nil {
		return nil, err
	}
	s.table.mu.Lock()
	for id, o := range starts {
		end, ok := ends.Lookup(s.topic, id)
		p := s.table.parts[id]
		if !ok || p == nil || o.EpochOffset().Offset != atEnd {
			continue
		}
		if p.done == noOffset { // else a rebalance came between
			p.done, p.next = end.Offset, end.Offset
		}
		starts[id] = kgo.NewOffset().At(p.done)
	}
	s.table.mu.Unlock()
	var pause transport.Backoff
	for err := s.commits.flush(ctx); err != nil; err = s.commits.flush(ctx) {
		if !pause.Wait(ctx) {
			return nil, context.Cause(ctx)
		}
	}
	return offsets, nil
}
