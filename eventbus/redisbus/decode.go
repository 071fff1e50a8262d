package redisbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// MalformedError reports an entry in none of the known forms. The message that
// stands for it has the entry's fields as a JSON object for its payload and the
// entry's id for its UUID; middleware.Delivery carries this error, so that the
// dead letter middleware buries it with its bytes and without retries.
type MalformedError struct {
	ID  string // of the entry
	Err error  // what is wrong with it
}

// Error tells the entry and what is wrong with it, without its contents.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("redisbus: read entry %q: %v", e.ID, e.Err)
}

// Unwrap returns what is wrong.
func (e *MalformedError) Unwrap() error { return e.Err }

// Undecodable marks the error for middleware.DeadLetter.
func (e *MalformedError) Undecodable() bool { return true }

var errForm = errors.New("no known form: neither a Watermill UUID nor an event type with a payload")

// decode turns an entry into a message. The error is a *MalformedError, and the
// message is there all the same. The values are those of go-redis: strings,
// each with memory of its own, which the message keeps.
func decode(id string, values map[string]any) (*message.Message, error) {
	m, err := decodeKnown(id, values)
	if err != nil {
		return raw(id, values), &MalformedError{ID: id, Err: err}
	}
	return m, nil
}

func decodeKnown(id string, values map[string]any) (*message.Message, error) {
	payload, hasPayload := text(values, fieldPayload)
	if uuid, ok := text(values, fieldUUID); ok {
		packed, ok := text(values, fieldMetadata)
		if !ok {
			return flat(uuid, payload, values), nil
		}
		m := message.NewMessage(uuid, []byte(payload))
		if packed == "" {
			return m, nil
		}
		md, err := readMetadata(packed)
		if err != nil {
			return nil, err
		}
		m.Metadata = md
		return m, nil
	}
	// An entry of the Python library; its consumer asks for no more than this.
	if kind, _ := text(values, wire.EventType); kind == "" || !hasPayload {
		return nil, errForm
	}
	uuid, _ := text(values, wire.EventID)
	if uuid == "" {
		uuid = id
	}
	m := flat(uuid, payload, values)
	for k, v := range m.Metadata {
		if v == "" { // how it writes that there is no tenant; we leave it out
			delete(m.Metadata, k)
		}
	}
	return m, nil
}

// flat makes a message of fields that are the metadata themselves.
func flat(uuid, payload string, values map[string]any) *message.Message {
	m := message.NewMessage(uuid, []byte(payload))
	for k := range values {
		if k != fieldUUID && k != fieldPayload {
			m.Metadata[k], _ = text(values, k)
		}
	}
	return m
}

func text(values map[string]any, field string) (string, bool) {
	s, ok := values[field].(string)
	return s, ok
}

// raw keeps what an unknown entry holds as a JSON object. A field that is no
// text becomes {"base64": "..."}, because a JSON string would not keep it.
func raw(id string, values map[string]any) *message.Message {
	fields := make(map[string]any, len(values))
	for k := range values {
		v, _ := text(values, k)
		if utf8.ValidString(k) && utf8.ValidString(v) {
			fields[k] = v
			continue
		}
		fields[strings.ToValidUTF8(k, "\ufffd")] = map[string][]byte{"base64": []byte(v)}
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		payload = []byte("{}") // strings and bytes always encode
	}
	return message.NewMessage(id, payload)
}
