package codec

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// Header holds the fields that every event has, under their names on the wire
// and in their order there. An event embeds a struct of this layout as its
// first field; see [Check].
type Header struct {
	EventID          string         `json:"event_id"`          // unique; also the message's UUID
	EventType        string         `json:"event_type"`        // wire name, not the Go type's
	EventVersion     int            `json:"event_version"`     // schema version of the type
	OccurredAt       time.Time      `json:"occurred_at"`       // written in UTC, cut to microseconds
	AggregateID      string         `json:"aggregate_id"`      // the default ordering key
	AggregateType    string         `json:"aggregate_type"`    // kind of the aggregate
	AggregateVersion int64          `json:"aggregate_version"` // of the aggregate after this event
	TenantID         string         `json:"tenant_id"`         // optional: empty is null
	ActorID          string         `json:"actor_id"`          // optional: empty is null
	CorrelationID    string         `json:"correlation_id"`    // optional: empty is null
	CausationID      string         `json:"causation_id"`      // optional: empty is null
	Metadata         map[string]any `json:"metadata"`          // free; nil is written as {}
}

// headerType, its field count and its JSON names describe the layout that every
// event embeds.
var headerType = reflect.TypeFor[Header]()

// zeroPrefix is what encoding/json writes for a zero Header at the head of an
// event: constant, so that the own fields behind it are found without a scan.
const zeroPrefix = `{"event_id":"","event_type":"","event_version":0,"occurred_at":"0001-01-01T00:00:00Z",` +
	`"aggregate_id":"","aggregate_type":"","aggregate_version":0,"tenant_id":"","actor_id":"",` +
	`"correlation_id":"","causation_id":"","metadata":null`

// appendHeader appends the header's members, from the opening brace up to and
// without the comma or brace behind the last one.
func (s *scratch) appendHeader(b []byte, h *Header) ([]byte, error) {
	for _, f := range [...]struct{ name, value string }{
		{"event_id", h.EventID},
		{"event_type", h.EventType},
		{"aggregate_id", h.AggregateID},
		{"aggregate_type", h.AggregateType},
		{"tenant_id", h.TenantID},
		{"actor_id", h.ActorID},
		{"correlation_id", h.CorrelationID},
		{"causation_id", h.CausationID},
	} {
		// encoding/json would write U+FFFD instead: another id than the one in
		// the message's metadata, and another ordering key.
		if !utf8.ValidString(f.value) {
			return nil, fmt.Errorf("field %s: not valid UTF-8", f.name)
		}
	}

	b = append(b, `{"event_id":`...)
	b = s.appendString(b, h.EventID)
	b = append(b, `,"event_type":`...)
	b = s.appendString(b, h.EventType)
	b = append(b, `,"event_version":`...)
	b = strconv.AppendInt(b, int64(h.EventVersion), 10)
	b = append(b, `,"occurred_at":`...)
	b, err := appendTime(b, h.OccurredAt)
	if err != nil {
		return nil, err
	}
	b = append(b, `,"aggregate_id":`...)
	b = s.appendString(b, h.AggregateID)
	b = append(b, `,"aggregate_type":`...)
	b = s.appendString(b, h.AggregateType)
	b = append(b, `,"aggregate_version":`...)
	b = strconv.AppendInt(b, h.AggregateVersion, 10)
	b = append(b, `,"tenant_id":`...)
	b = s.appendOptional(b, h.TenantID)
	b = append(b, `,"actor_id":`...)
	b = s.appendOptional(b, h.ActorID)
	b = append(b, `,"correlation_id":`...)
	b = s.appendOptional(b, h.CorrelationID)
	b = append(b, `,"causation_id":`...)
	b = s.appendOptional(b, h.CausationID)
	b = append(b, `,"metadata":`...)
	if len(h.Metadata) == 0 {
		return append(b, `{}`...), nil
	}
	metadata, err := s.marshal(h.Metadata)
	if err != nil {
		return nil, fmt.Errorf("field metadata: %w", err)
	}
	return append(b, metadata...), nil
}

// appendOptional writes an absent value as null, as the format demands.
func (s *scratch) appendOptional(b []byte, value string) []byte {
	if value == "" {
		return append(b, `null`...)
	}
	return s.appendString(b, value)
}

// appendString writes a JSON string. Ids and names are plain ASCII nearly
// always; whatever else there is takes encoding/json's way, so that both halves
// of a document escape alike.
func (s *scratch) appendString(b []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			quoted, err := s.marshal(value)
			if err != nil { // a string always encodes
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, value...)
	return append(b, '"')
}

// appendTime writes a time in UTC: a fraction of exactly six digits, or none
// when the microseconds are zero. The zero time is absent: null.
func appendTime(b []byte, t time.Time) ([]byte, error) {
	if t.IsZero() {
		return append(b, `null`...), nil
	}
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return nil, fmt.Errorf("field occurred_at: year %d has no form in RFC 3339", y)
	}
	layout := `"2006-01-02T15:04:05Z"`
	if t.Nanosecond() >= 1000 {
		layout = `"2006-01-02T15:04:05.000000Z"`
	}
	return t.AppendFormat(b, layout), nil
}
