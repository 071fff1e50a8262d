package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

const (
	// readBytes is what one request asks for. Larger saves round trips.
	readBytes = 1 << 20

	// readPatience is how often a request may bring nothing although there is
	// something, half a second each.
	readPatience = 20

	// removedPerMark bounds a record that names removed letters.
	removedPerMark = 1000

	// keyTries is far above what finds a key for one of some partitions.
	keyTries = 1 << 20
)

// view is the topic at one moment: what is read ends there, however many
// letters come in meanwhile.
type view struct {
	topic kadm.TopicDetail
	parts []span
}

// span is one partition of it: the records from start to before end.
type span struct {
	id, leader int32
	start, end int64
}

func (v view) part(id int32) (span, bool) {
	for _, p := range v.parts {
		if p.id == id {
			return p, true
		}
	}
	return span{}, false
}

// view looks at the topic. One that is not there is empty.
func (s *Store) view(ctx context.Context) (view, error) {
	topics, err := s.admin.ListTopics(ctx, s.cfg.Topic)
	if err != nil {
		return view{}, err
	}
	v := view{topic: topics[s.cfg.Topic]}
	if missing(v.topic.Err) {
		return v, nil
	}
	if v.topic.Err != nil {
		return view{}, v.topic.Err
	}
	starts, err := s.admin.ListStartOffsets(ctx, s.cfg.Topic)
	if err != nil {
		return view{}, err
	}
	ends, err := s.admin.ListEndOffsets(ctx, s.cfg.Topic)
	if err != nil {
		return view{}, err
	}
	for _, p := range v.topic.Partitions.Sorted() {
		start, _ := starts.Lookup(s.cfg.Topic, p.Partition)
		end, _ := ends.Lookup(s.cfg.Topic, p.Partition)
		if err := errors.Join(p.Err, start.Err, end.Err); err != nil {
			return view{}, err
		}
		v.parts = append(v.parts, span{id: p.Partition, leader: p.Leader, start: start.Offset, end: end.Offset})
	}
	return v, nil
}

// scan calls see for the records from an offset to before another, until it
// returns false. It always ends: at an offset that is known to be there.
func (s *Store) scan(ctx context.Context, v view, part span, from, to int64, see func(*kgo.Record) bool) error {
	empty := 0
	for at := max(from, part.start); at < to; {
		records, next, err := s.fetch(ctx, v, part, at)
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Offset >= to {
				return nil
			}
			if !see(r) {
				return nil
			}
		}
		if next > at {
			at, empty = next, 0
			continue
		}
		if empty++; empty >= readPatience {
			return fmt.Errorf("partition %d of %q: nothing comes at offset %d", part.id, s.cfg.Topic, at)
		}
	}
	return nil
}

// fetch asks the leader for records at an offset, and returns the offset to go
// on with. It is stateless: many may read at once, and nothing stays behind.
func (s *Store) fetch(ctx context.Context, v view, part span, at int64) ([]*kgo.Record, int64, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = 500
	req.MinBytes = 1
	req.MaxBytes = readBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = s.cfg.Topic, v.topic.ID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = part.id, at, readBytes
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	answer, err := s.cfg.Client.Broker(int(part.leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, 0, cause(ctx, err)
	}
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		if ok {
			if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
				return nil, 0, err
			}
		}
		return nil, at, nil
	}
	got := &resp.Topics[0].Partitions[0]
	err = kerr.ErrorForCode(got.ErrorCode)
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange) && got.LogStartOffset > at:
		return nil, got.LogStartOffset, nil // retention was faster
	case errors.Is(err, kerr.OffsetOutOfRange):
		starts, err := s.admin.ListStartOffsets(ctx, s.cfg.Topic)
		if err != nil {
			return nil, 0, err
		}
		start, _ := starts.Lookup(s.cfg.Topic, part.id)
		return nil, max(at, start.Offset), nil
	case err != nil && kerr.IsRetriable(err):
		transport.Sleep(ctx, 100*time.Millisecond)
		return nil, at, ctx.Err()
	case err != nil:
		return nil, 0, err
	}
	opts := kgo.ProcessFetchPartitionOpts{Offset: at, Topic: s.cfg.Topic, Partition: part.id}
	fetched, next := kgo.ProcessFetchPartition(opts, got, kgo.DefaultDecompressor(), nil)
	if fetched.Err != nil {
		return nil, 0, fetched.Err
	}
	return fetched.Records, next, nil
}

// removals is which letters of a partition are gone.
type removals struct {
	before  int64
	offsets map[int64]struct{}
}

func newRemovals() *removals { return &removals{offsets: make(map[int64]struct{})} }

// read notes what a record says about removed letters, and reports whether it
// does: else it is a letter.
func (r *removals) read(rec *kgo.Record) bool {
	if len(rec.Value) > 0 {
		return false
	}
	mark := false
	for _, h := range rec.Headers {
		switch h.Key {
		case headerRemovedIn: // it comes first
			if string(h.Value) != strconv.Itoa(int(rec.Partition)) {
				return true // it went astray
			}
		case headerRemovedBefore:
			if n, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil {
				r.before = max(r.before, min(n, rec.Offset))
			}
			mark = true
		case headerRemoved:
			for text := range strings.SplitSeq(string(h.Value), ",") {
				if n, err := strconv.ParseInt(text, 10, 64); err == nil {
					r.offsets[n] = struct{}{}
				}
			}
			mark = true
		}
	}
	return mark
}

func (r *removals) has(offset int64) bool {
	_, gone := r.offsets[offset]
	return gone || offset < r.before
}

// remove writes that letters of a partition are gone.
func (s *Store) remove(ctx context.Context, v view, partition int32, offsets []int64) error {
	for len(offsets) > 0 {
		n := min(len(offsets), removedPerMark)
		texts := make([]string, n)
		for i, o := range offsets[:n] {
			texts[i] = strconv.FormatInt(o, 10)
		}
		if err := s.mark(ctx, v, partition, headerRemoved, strings.Join(texts, ",")); err != nil {
			return err
		}
		offsets = offsets[n:]
	}
	return nil
}

// mark writes a record about letters into their partition. The client chooses
// partitions by key; so a key is looked for that it brings there. Where it does
// not, because the topic has more partitions than it knows of, say, the record
// speaks of nobody's letters.
func (s *Store) mark(ctx context.Context, v view, partition int32, header, value string) error {
	r := &kgo.Record{Topic: s.cfg.Topic, Headers: []kgo.RecordHeader{
		{Key: headerRemovedIn, Value: strconv.AppendInt(nil, int64(partition), 10)}, {Key: header, Value: []byte(value)},
	}}
	partitioner, ok := s.cfg.Client.OptValue(kgo.RecordPartitioner).(kgo.Partitioner)
	if !ok {
		return errPartitioner
	}
	choose := partitioner.ForTopic(s.cfg.Topic)
	for try := range keyTries {
		r.Key = strconv.AppendInt([]byte("leat-"), int64(try), 10)
		if choose.Partition(r, len(v.parts)) == int(partition) {
			if err := s.produce(ctx, r); err != nil {
				return err
			}
			if r.Partition != partition {
				s.cfg.Client.ForceMetadataRefresh()
				return errPartitioner
			}
			return nil
		}
	}
	return errPartitioner
}

var errPartitioner = errors.New("the letter cannot be marked as removed: the client's partitioner does not go by keys, or partitions were added just now")
