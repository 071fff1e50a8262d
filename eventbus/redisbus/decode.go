package redisbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// field is a field of an entry. Its bytes are the reader's, and may be those of a
// whole batch: what a message keeps of them it copies.
type field struct{ name, value []byte }

// fieldsOf returns the fields of an entry that go-redis read.
func fieldsOf(values map[string]any) []field {
	fields := make([]field, 0, len(values))
	for name, value := range values {
		v, _ := value.(string)
		fields = append(fields, field{[]byte(name), []byte(v)})
	}
	return fields
}

// lookUp finds a field; of several with one name, the last.
func lookUp(fields []field, name string) (value []byte, ok bool) {
	for _, f := range slices.Backward(fields) {
		if string(f.name) == name {
			return f.value, true
		}
	}
	return nil, false
}

// decode turns an entry into a message. The error is a *MalformedError, and the
// message is there all the same.
func decode(id string, fields []field) (*message.Message, error) {
	m, err := decodeKnown(id, fields)
	if err != nil {
		return raw(id, fields), &MalformedError{ID: id, Err: err}
	}
	return m, nil
}

func decodeKnown(id string, fields []field) (*message.Message, error) {
	payload, hasPayload := lookUp(fields, fieldPayload)
	if uuid, ok := lookUp(fields, fieldUUID); ok {
		packed, ok := lookUp(fields, fieldMetadata)
		if !ok {
			return flat(string(uuid), payload, fields), nil
		}
		md := message.Metadata{}
		if len(packed) > 0 {
			var err error
			if md, err = readMetadata(string(packed)); err != nil {
				return nil, err
			}
		}
		m := message.NewMessage(string(uuid), slices.Clone(payload))
		m.Metadata = md
		return m, nil
	}
	// An entry of the Python library; its consumer asks for no more than this.
	if kind, _ := lookUp(fields, wire.EventType); len(kind) == 0 || !hasPayload {
		return nil, errForm
	}
	uuid := id
	if own, _ := lookUp(fields, wire.EventID); len(own) > 0 {
		uuid = string(own)
	}
	m := flat(uuid, payload, fields)
	for k, v := range m.Metadata {
		if v == "" { // how it writes that there is no tenant; we leave it out
			delete(m.Metadata, k)
		}
	}
	return m, nil
}

// flat makes a message of fields that are the metadata themselves.
func flat(uuid string, payload []byte, fields []field) *message.Message {
	m := message.NewMessage(uuid, slices.Clone(payload))
	for _, f := range fields {
		if k := string(f.name); k != fieldUUID && k != fieldPayload {
			m.Metadata[k] = string(f.value)
		}
	}
	return m
}

// raw keeps what an unknown entry holds as a JSON object. A field that is no
// text becomes {"base64": "..."}, because a JSON string would not keep it.
func raw(id string, fields []field) *message.Message {
	object := make(map[string]any, len(fields))
	for _, f := range fields {
		if utf8.Valid(f.name) && utf8.Valid(f.value) {
			object[string(f.name)] = string(f.value)
			continue
		}
		object[strings.ToValidUTF8(string(f.name), "\ufffd")] = map[string][]byte{"base64": f.value}
	}
	payload, err := json.Marshal(object)
	if err != nil {
		payload = []byte("{}") // strings and bytes always encode
	}
	return message.NewMessage(id, payload)
}
