package kafkabus

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/wire"
)

const headerUUID = wire.WatermillUUID

// MalformedError reports a record that is neither a Watermill message nor an
// event: it has no header that says so. The message that stands for it has the
// record's value for its payload, its headers for metadata and
// "partition:offset" for its UUID; middleware.Delivery carries this error, so
// that the dead letter middleware buries it with its bytes and without retries.
type MalformedError struct {
	// Where the record is.
	Topic     string
	Partition int32
	Offset    int64
}

// Error tells where the record is, without its contents.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("kafkabus: read record %d:%d of %q: no header %s and none %s", e.Partition, e.Offset, e.Topic, headerUUID, wire.EventType)
}

// Undecodable marks the error for middleware.DeadLetter.
func (e *MalformedError) Undecodable() bool { return true }

// encoder makes records of messages. All that it copies of them is in a few
// pieces of memory: one by one, these cost a third of the whole.
type encoder struct {
	key     func(*message.Message) string
	headers []kgo.RecordHeader
	bytes   []byte
}

// maxRoom is how many bytes, or headers, are set aside for messages to come.
const maxRoom = 32 << 10

// encode makes a record of a message: the payload is the value, the metadata are
// headers in a fixed order, known ones first, then the UUID as the stock marshaler
// writes it, then the others, sorted. left is how many messages are to come, this
// one included.
func (e *encoder) encode(r *kgo.Record, topic string, m *message.Message, left int) error {
	if v, ok := m.Metadata[headerUUID]; ok && v != m.UUID {
		return fmt.Errorf("metadata %q is reserved for the message's UUID", headerUUID)
	}
	k := e.key(m)
	size := len(k) + len(m.UUID)
	for _, v := range m.Metadata {
		size += len(v)
	}
	e.bytes = spacious(e.bytes, size, left)
	e.headers = spacious(e.headers, len(m.Metadata)+1, left)
	first := len(e.headers)
	for k, v := range m.Metadata {
		if k != headerUUID {
			e.headers = append(e.headers, kgo.RecordHeader{Key: k, Value: e.copy(v)})
		}
	}
	e.headers = append(e.headers, kgo.RecordHeader{Key: headerUUID, Value: e.copy(m.UUID)})
	headers := e.headers[first:len(e.headers):len(e.headers)]
	slices.SortFunc(headers, func(a, b kgo.RecordHeader) int { return wire.Compare(a.Key, b.Key) })
	r.Topic, r.Value, r.Headers = topic, m.Payload, headers
	if r.Value == nil {
		r.Value = []byte{} // null would be a tombstone
	}
	if k != "" {
		r.Key = e.copy(k)
	}
	return nil
}

// copy returns v as bytes.
func (e *encoder) copy(v string) []byte {
	start := len(e.bytes)
	e.bytes = append(e.bytes, v...)
	return e.bytes[start:len(e.bytes):len(e.bytes)]
}

// spacious returns s with room for n more, or a new one with room for as many
// messages of that size as are left.
func spacious[E any](s []E, n, left int) []E {
	if cap(s)-len(s) >= n {
		return s
	}
	return make([]E, 0, max(n, min(n*left, maxRoom)))
}

// keyOf is the key of a message that is published: its aggregate, or for a
// replayed letter the key that it had.
func keyOf(m *message.Message) string {
	if k := m.Metadata[dlq.KeyKey]; k != "" {
		return k
	}
	return m.Metadata[wire.AggregateID]
}

// decode makes a message of a record. The error is a *MalformedError, and the
// message is there all the same. Of a header that is there twice the last one
// counts, as with the stock adapter. The message shares the record's value.
func decode(r *kgo.Record) (*message.Message, error) {
	m := message.NewMessage("", r.Value)
	m.Metadata = make(message.Metadata, len(r.Headers))
	for _, h := range r.Headers {
		if h.Key == headerUUID {
			m.UUID = string(h.Value)
		} else {
			m.Metadata[h.Key] = string(h.Value)
		}
	}
	if m.UUID == "" {
		m.UUID = m.Metadata[wire.EventID] // the Python library's
	}
	if m.UUID != "" {
		return m, nil
	}
	m.UUID = position(r.Partition, r.Offset)
	if m.Metadata[wire.EventType] == "" {
		return m, &MalformedError{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
	}
	return m, nil
}

// tombstone reports a record that only says that a key is deleted from a
// compacted topic. It is nobody's event.
func tombstone(r *kgo.Record) bool {
	if r.Value != nil {
		return false
	}
	for _, h := range r.Headers {
		if h.Key == headerUUID || h.Key == wire.EventType {
			return false
		}
	}
	return true
}

// position is how a record is named in ids.
func position(partition int32, offset int64) string {
	return strconv.FormatInt(int64(partition), 10) + ":" + strconv.FormatInt(offset, 10)
}
