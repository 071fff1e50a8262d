package dlq_test

import (
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
)

// FuzzFromMessage reads letters with hostile metadata: it must always give a
// letter, and one that survives being buried and read again.
func FuzzFromMessage(f *testing.F) {
	f.Add("id", "payload", "dlq_reason=expired\x1fdlq_attempts=9223372036854775808\x1fdlq_timestamp=9999-99-99")
	f.Add("", "", "x-dlq-reason=\xff\x1fx-dlq-retry-count=2147483647\x1fx-dlq-=1")
	f.Add("id", "\x00", "original_message_id=1\x1fretry_count=-1\x1fdlq_timestamp=2026-01-02T03:04:05Z")
	f.Add("id", "", "dlq_handlers=,,%2C%,a%25\x1fdlq_original_partition=-1\x1fdlq_original_offset=0x10\x1f=\x1fx-first-death-reason=maxlen")
	f.Add("id", "", "dlq_replay_count=99999999999\x1fdlq_timestamp=0000-01-01T00:00:00+23:59\x1fdlq_error_message="+strings.Repeat("ü", 3000))
	f.Fuzz(func(t *testing.T, id, payload, metadata string) {
		m := message.NewMessage(id, []byte(payload))
		for pair := range strings.SplitSeq(metadata, "\x1f") {
			k, v, _ := strings.Cut(pair, "=")
			m.Metadata[k] = v
		}
		l, _ := dlq.FromMessage(m)
		if l.MessageID != id || string(l.Payload) != payload {
			t.Fatalf("the original changed: %q %q", l.MessageID, l.Payload)
		}
		if l.Attempts < 0 || l.Replays < 0 || l.Source.Partition < dlq.NoPosition || l.Source.Offset < dlq.NoPosition {
			t.Fatalf("impossible numbers: %+v", l)
		}
		for k := range l.Metadata {
			if strings.HasPrefix(k, dlq.Prefix) {
				t.Fatalf("reserved key %q is left in the original's metadata", k)
			}
		}
		once, err := dlq.FromMessage(l.Message())
		if err != nil {
			t.Fatalf("our own letter is malformed: %v", err)
		}
		twice, err := dlq.FromMessage(once.Message())
		if err != nil {
			t.Fatalf("our own letter is malformed: %v", err)
		}
		if diff := dlqtest.Diff(twice, once); diff != "" {
			t.Fatalf("a letter changes when it is read and written:\n%s", diff)
		}
	})
}
