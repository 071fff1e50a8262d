package eventbustest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/internal/wire"
)

func wireCases() []Case {
	return []Case{
		{
			Name: "UndecodableIsBuriedRaw", Laws: []int{2, 5}, Need: []Feature{Injection, Letters}, run: undecodable,
			Why: "a payload that cannot be decoded becomes one letter with its raw bytes, without retries, and the consumer goes on",
		},
		{
			Name: "ForeignMessageIsBuried", Laws: []int{2, 5}, Need: []Feature{Injection, Letters}, run: foreignMessage,
			Why: "a message that is no event becomes a letter with its raw bytes, and the consumer goes on",
		},
		{
			Name: "ForeignEntryIsSurvived", Laws: []int{5}, Need: []Feature{ForeignEntries}, run: foreignEntry,
			Why: "an entry that is not in the transport's own form does not stop the consumer",
		},
		{
			Name: "UnknownTypeIsSkipped", Laws: []int{5}, Need: []Feature{Injection}, run: unknownType,
			Why: "an event of a type that no handler here wants is skipped and counted, before its payload is decoded",
		},
		{
			Name: "HostileMetadataIsSurvived", Laws: []int{5}, Need: []Feature{Injection}, run: hostileMetadata,
			Why: "line breaks, NULs, huge values, broken trace contexts and reserved keys in metadata are read or ignored",
		},
	}
}

// raw makes a message as another program would publish it.
func raw(eventType string, payload []byte) *message.Message {
	msg := message.NewMessage(eventbus.NewID(), payload)
	if eventType != "" {
		msg.Metadata.Set(wire.EventType, eventType)
		msg.Metadata.Set(wire.EventID, msg.UUID)
		msg.Metadata.Set(wire.AggregateID, "k")
	}
	return msg
}

func (s *session) inject(msg *message.Message) {
	s.Helper()
	s.h.Inject(s.TB, s.topic, msg)
}

func undecodable(s *session) {
	n := s.start()
	got := n.record("reader")
	sent := map[string]*message.Message{}
	for what, payload := range map[string]string{
		"nothing":          "",
		"half of it":       `{"event_id":"1","aggr`,
		"another type":     `["event_id"]`,
		"a number as text": `{"event_id":"1","aggregate_id":"k","occurred_at":"2026-01-02T03:04:05Z","n":"seven"}`,
		"a time":           `{"event_id":"1","aggregate_id":"k","occurred_at":"yesterday"}`,
		"no UTF-8":         "\xff\xfe\x00\x01",
		"a deep nesting":   `{"metadata":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
		"the end missing":  strings.Repeat(" ", 10_000) + "{",
	} {
		msg := raw(placedName, []byte(payload))
		msg.Metadata.Set("what", what)
		sent[msg.UUID] = msg
		s.inject(msg)
	}
	n.consumed(int64(len(sent)))
	after := place("k", 1)
	n.publish(after)
	got.Want(s, after)
	n.consumed(int64(len(sent)) + 1)
	s.buriedRaw(n, sent)
	if stats := n.Bus.Stats(); stats.Retries != 0 || stats.HandlersInvoked != 1 {
		s.Errorf("stats %+v, want no retries, and the handler invoked for the good event only", stats)
	}
}

// buriedRaw wants one letter for each message, with its bytes and metadata.
func (s *session) buriedRaw(n *node, sent map[string]*message.Message) {
	s.Helper()
	for _, l := range n.letters(dlq.Query{}) {
		msg := sent[l.MessageID]
		if msg == nil {
			s.Errorf("a letter holds message %q, which was not sent, or it is the second one", l.MessageID)
			continue
		}
		delete(sent, l.MessageID)
		what := msg.Metadata.Get("what")
		if !bytes.Equal(l.Payload, msg.Payload) {
			s.Errorf("%s: the letter's payload is %q, want %q", what, l.Payload, msg.Payload)
		}
		if l.Metadata["what"] != what || l.EventType() != msg.Metadata.Get(wire.EventType) {
			s.Errorf("%s: the letter's metadata is %v, want %v", what, l.Metadata, msg.Metadata)
		}
		if l.Reason != dlq.ReasonUndecodable || len(l.Handlers) != 0 || l.Group != s.group {
			s.Errorf("%s: reason %q, handlers %v, group %q; want %s, no handlers, %q", what, l.Reason, l.Handlers, l.Group, dlq.ReasonUndecodable, s.group)
		}
	}
	for _, msg := range sent {
		s.Errorf("no letter for %s", msg.Metadata.Get("what"))
	}
}

func foreignMessage(s *session) {
	n := s.start()
	got := n.recordAll("reader")
	sent := map[string]*message.Message{}
	for what, payload := range map[string][]byte{
		"text": []byte("hello"), "JSON": []byte(`{"order":1}`), "bytes": {0, 1, 2, 255, 254}, "nothing": nil,
	} {
		msg := raw("", payload)
		msg.Metadata.Set("what", what)
		sent[msg.UUID] = msg
		s.inject(msg)
	}
	n.consumed(int64(len(sent)))
	after := place("k", 1)
	n.publish(after)
	got.Want(s, after)
	s.buriedRaw(n, sent)
}

func foreignEntry(s *session) {
	n := s.start()
	got := n.record("reader")
	before := place("k", 1)
	n.publish(before)
	got.Want(s, before)
	s.h.InjectForeign(s.TB, s.topic)
	after := place("k", 2)
	n.publish(after)
	got.Want(s, before, after)
}

func unknownType(s *session) {
	n := s.start()
	got := n.record("reader")
	for i, name := range []string{"SomebodyElses", shippedName, strings.ToLower(placedName), placedName + "2", "a b\r\nc"} {
		s.inject(raw(name, fmt.Appendf(nil, "no JSON at all %d", i)))
	}
	n.consumed(5)
	after := place("k", 1)
	n.publish(after)
	got.Want(s, after)
	n.consumed(6)
	if stats := n.Bus.Stats(); stats.EventsSkipped != 5 || stats.EventsProcessedSuccess != 1 || stats.MessagesSentToDLQ != 0 {
		s.Errorf("stats %+v, want 5 skipped, 1 success, no letter", stats)
	}
}

func hostileMetadata(s *session) {
	n := s.start()
	got := n.record("reader")
	var sent int64
	for what, metadata := range map[string]map[string]string{
		"line breaks":            {"x": "a\r\nSet-Cookie: b", "y\r\nz": "1"},
		"NULs":                   {"x": "\x00", "\x00": "\x00"},
		"a huge value":           {"x": strings.Repeat("v", 100_000)},
		"a broken trace":         {wire.TraceParent: "00-zz-zz-zz", wire.TraceState: "=,=,", wire.Baggage: "%%%=;;;,"},
		"numbers that are none":  {wire.EventVersion: "eleven", wire.AggregateVersion: "-", wire.OccurredAt: "now"},
		"keys of letters":        {"dlq_handlers": "nobody", "dlq_consumer_group": "another", "dlq_reason": "x", "dlq_timestamp": "?"},
		"another id":             {wire.EventID: "", wire.AggregateID: strings.Repeat("k", 10_000)},
		"a correlation of lines": {wire.CorrelationID: "a\nb", wire.TenantID: "\x1b[31m"},
	} {
		e := place("k", 1)
		e.Text = what
		payload := fmt.Appendf(nil, `{"event_id":%q,"event_type":%q,"event_version":1,"occurred_at":"2026-01-02T03:04:05Z","aggregate_id":"k","text":%q}`,
			e.EventID, placedName, what)
		msg := raw(placedName, payload)
		for k, v := range metadata {
			msg.Metadata.Set(k, v)
		}
		s.inject(msg)
		sent++
	}
	n.consumed(sent)
	events := EventsOf[placed](got)
	if len(events) != int(sent) {
		s.Errorf("%d events reached the handler, want all %d", len(events), sent)
	}
	if stats := n.Bus.Stats(); stats.EventsProcessedSuccess != sent {
		s.Errorf("stats %+v, want %d successes", stats, sent)
	}
}
