package dlq

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// Prefix starts every metadata key of a letter. Metadata of the original
// message that starts with it is never kept.
const Prefix = "dlq_"

// The metadata keys of a letter. Those up to KeyGroup are the Python library's
// too, with its meaning; a golden file holds them all.
const (
	KeyReason            = "dlq_reason"
	KeyErrorType         = "dlq_error_type"
	KeyErrorMessage      = "dlq_error_message"
	KeyRetryCount        = "dlq_retry_count" // retries: attempts without the first
	KeyTimestamp         = "dlq_timestamp"   // of the burial
	KeyOriginalTopic     = "dlq_original_topic"
	KeyOriginalPartition = "dlq_original_partition"
	KeyOriginalOffset    = "dlq_original_offset"
	KeyReplayCount       = wire.ReplayCount
	KeyGroup             = wire.ReplayGroup

	KeyAttempts      = "dlq_attempts"
	KeyFirstFailedAt = "dlq_first_failed_at"
	KeyLastFailedAt  = "dlq_last_failed_at"
	KeyOriginalID    = "dlq_original_id"
	KeyHandlers      = wire.ReplayHandlers // separated by commas
	KeyKey           = "dlq_key"
	KeyHost          = "dlq_host"
	KeyBuild         = "dlq_build"
	KeyID            = "dlq_id" // where the store has no id of its own
)

// MaxErrorMessage is how many characters of an error's text a letter keeps on
// the wire. Headers have limits in every broker, and whoever needs the whole
// text has the log, where it was written when it happened.
const MaxErrorMessage = 1000

// Message returns the letter's wire form: a message with the original's UUID,
// payload and metadata, and the letter's own facts under keys that start with
// [Prefix]. Facts that are empty or unknown are left out. The payload is shared
// with the letter, the metadata is not. Message may be called concurrently.
func (l *Letter) Message() *message.Message {
	m := message.NewMessage(l.MessageID, l.Payload)
	for k, v := range l.Metadata {
		if !strings.HasPrefix(k, Prefix) {
			m.Metadata[k] = v
		}
	}
	set := func(key, value string) {
		if value != "" {
			m.Metadata[key] = strings.ToValidUTF8(value, "\uFFFD")
		}
	}
	set(KeyID, l.ID)
	set(KeyReason, string(l.Reason))
	set(KeyErrorType, l.ErrorType)
	set(KeyErrorMessage, cut(l.ErrorMessage))
	if l.Attempts > 0 {
		set(KeyAttempts, strconv.Itoa(l.Attempts))
		set(KeyRetryCount, strconv.Itoa(l.Attempts-1))
	}
	set(KeyTimestamp, formatTime(l.BuriedAt))
	set(KeyFirstFailedAt, formatTime(l.FirstFailedAt))
	set(KeyLastFailedAt, formatTime(l.LastFailedAt))
	set(KeyOriginalTopic, l.Source.Topic)
	if l.Source.Partition >= 0 {
		set(KeyOriginalPartition, strconv.FormatInt(int64(l.Source.Partition), 10))
	}
	if l.Source.Offset >= 0 {
		set(KeyOriginalOffset, strconv.FormatInt(l.Source.Offset, 10))
	}
	set(KeyOriginalID, l.Source.ID)
	set(KeyGroup, l.Group)
	set(KeyHandlers, formatHandlers(l.Handlers))
	set(KeyKey, l.Key)
	set(KeyHost, l.Host)
	set(KeyBuild, l.Build)
	if l.Replays > 0 {
		set(KeyReplayCount, strconv.Itoa(l.Replays))
	}
	return m
}

// FormatError reports facts of a letter that could not be read. The letter is
// usable without them.
type FormatError struct {
	Keys []string // the metadata keys, in no particular order
}

// Error names the keys, never their values.
func (e *FormatError) Error() string {
	return fmt.Sprintf("dlq: read letter: malformed metadata %q", e.Keys)
}

// FromMessage reads a letter from its wire form. Whatever stands in a dead
// letter queue becomes a letter: one of the Python library's, one that a broker
// put there by itself, or a message that tells nothing about why it is there.
// Facts that cannot be read are left empty and named in a [*FormatError]; the
// letter is complete otherwise, and a listing must show it. Only a nil message
// gives no letter. The payload is shared with the message.
func FromMessage(m *message.Message) (Letter, error) {
	if m == nil {
		return Letter{Source: Source{Partition: NoPosition, Offset: NoPosition}}, &FormatError{}
	}
	r := reader{meta: m.Metadata}
	l := NewLetter(m)
	l.ID = m.Metadata[KeyID]
	l.Reason = Reason(m.Metadata[KeyReason])
	l.ErrorType = m.Metadata[KeyErrorType]
	l.ErrorMessage = m.Metadata[KeyErrorMessage]
	l.Attempts = r.attempts()
	l.BuriedAt = r.time(KeyTimestamp)
	l.FirstFailedAt = r.time(KeyFirstFailedAt)
	l.LastFailedAt = r.time(KeyLastFailedAt)
	l.Source = Source{
		Topic:     m.Metadata[KeyOriginalTopic],
		Partition: int32(r.number(KeyOriginalPartition, 32, NoPosition)),
		Offset:    r.number(KeyOriginalOffset, 64, NoPosition),
		ID:        m.Metadata[KeyOriginalID],
	}
	l.Group = m.Metadata[KeyGroup]
	l.Handlers = parseHandlers(m.Metadata[KeyHandlers])
	l.Host = m.Metadata[KeyHost]
	l.Build = m.Metadata[KeyBuild]
	l.Replays = int(r.number(KeyReplayCount, 31, 0))
	r.foreign(&l)
	if len(r.malformed) > 0 {
		return l, &FormatError{Keys: r.malformed}
	}
	return l, nil
}

// Target says for whom a replayed message is meant.
type Target struct {
	Group    string   // the consumer group; empty: everyone
	Handlers []string // the handlers in that group; empty: all of them
	Replays  int      // how often the message has been replayed, this time included
}

// ReplayTarget reads from a consumed message whether it is a replay, and if so
// for whom. Other groups acknowledge such a message without handling it.
func ReplayTarget(m *message.Message) (Target, bool) {
	count, ok := m.Metadata[KeyReplayCount]
	if !ok {
		return Target{}, false
	}
	n, err := strconv.ParseInt(count, 10, 32)
	if err != nil || n < 0 {
		n = 0
	}
	return Target{
		Group:    m.Metadata[KeyGroup],
		Handlers: parseHandlers(m.Metadata[KeyHandlers]),
		Replays:  int(n),
	}, true
}

// original copies the metadata that belongs to the message itself.
func original(meta map[string]string) map[string]string {
	out := make(map[string]string, len(meta))
	for k, v := range meta {
		if !strings.HasPrefix(k, Prefix) {
			out[k] = v
		}
	}
	return out
}

// reader parses facts and remembers the keys of those that make no sense.
type reader struct {
	meta      map[string]string
	malformed []string
}

func (r *reader) number(key string, bits int, absent int64) int64 {
	s, ok := r.meta[key]
	if !ok || s == "" {
		return absent
	}
	n, err := strconv.ParseInt(s, 10, bits)
	if err != nil || n < 0 {
		r.malformed = append(r.malformed, key)
		return absent
	}
	return n
}

// attempts prefers our own count; the Python library counts retries.
func (r *reader) attempts() int {
	if n := r.number(KeyAttempts, 31, 0); n > 0 {
		return int(n)
	}
	return r.retries(KeyRetryCount)
}

// retries turns a count of retries into one of attempts: 0 when it is not told.
func (r *reader) retries(key string) int {
	return int(r.number(key, 30, -1)) + 1
}

func (r *reader) time(key string) time.Time {
	s := r.meta[key]
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if t = t.UTC(); err != nil || !writable(t) {
		r.malformed = append(r.malformed, key)
		return time.Time{}
	}
	return t
}

// writable: a time zone can move the years 0 and 9999 to where four digits do
// not reach.
func writable(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

func formatTime(t time.Time) string {
	if t = t.UTC(); t.IsZero() || !writable(t) {
		return ""
	}
	return t.Format(wire.OccurredAtLayout)
}

// cut shortens an error's text to MaxErrorMessage characters of valid UTF-8.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxErrorMessage {
		return s
	}
	n := 0
	for i := range s {
		if n == MaxErrorMessage {
			return s[:i]
		}
		n++
	}
	return s
}

// Handler names of ours have no comma, but those of a stock Watermill router
// may: it and the escape character itself are escaped.
func formatHandlers(names []string) string {
	escaped := make([]string, 0, len(names))
	for _, n := range names {
		if strings.ContainsAny(n, "%,") {
			n = strings.NewReplacer("%", "%25", ",", "%2C").Replace(n)
		}
		if n != "" {
			escaped = append(escaped, n)
		}
	}
	return strings.Join(escaped, ",")
}

func parseHandlers(s string) []string {
	if s == "" {
		return nil
	}
	var names []string
	for n := range strings.SplitSeq(s, ",") {
		n = strings.TrimSpace(n)
		if strings.Contains(n, "%") {
			n = strings.NewReplacer("%2C", ",", "%25", "%").Replace(n)
		}
		if n != "" {
			names = append(names, n)
		}
	}
	return names
}
