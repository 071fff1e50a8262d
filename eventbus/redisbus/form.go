package redisbus

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/internal/wire"
)

// Form is how a message is written as the fields of a stream entry. Every form
// is always read; see the package documentation for which program reads which.
type Form int

const (
	// FormWatermill is exactly what the stock watermill-redisstream marshaller
	// writes: the UUID, the metadata as a MessagePack map, the payload.
	FormWatermill Form = iota
	// FormText writes each metadata key as a text field of its own between UUID
	// and payload. Choose it where a consumer of the Python library reads the
	// stream: one entry with MessagePack in it stops that consumer for good. The
	// stock adapter reads such an entry without its metadata.
	FormText
)

// String returns "watermill" or "text".
func (f Form) String() string {
	switch f {
	case FormWatermill:
		return "watermill"
	case FormText:
		return "text"
	}
	return fmt.Sprintf("Form(%d)", int(f))
}

// Fields of an entry.
const (
	fieldUUID     = wire.WatermillUUID
	fieldMetadata = "metadata"
	fieldPayload  = "payload"
)

// encoder appends the fields of messages to the arguments of commands. It
// reuses what it can between messages, so it serves one goroutine at a time.
//
// Arguments are pointers where they can be: those cost no memory of their own.
type encoder struct {
	form   Form
	sorted []pair   // the metadata of one message
	buffer []byte   // the metadata of several messages, one behind the other
	packed []packed // each one's part of it
}

// pair is a key of metadata and its value.
type pair struct{ key, value string }

// packed is metadata as an argument.
type packed []byte

// MarshalBinary is called by the client.
func (p *packed) MarshalBinary() ([]byte, error) { return *p, nil }

// payload is a message's payload as an argument.
type payload message.Message

// MarshalBinary is called by the client.
func (p *payload) MarshalBinary() ([]byte, error) { return p.Payload, nil }

func newEncoder(form Form) *encoder { return &encoder{form: form} }

// sort leaves md in e in the order of the wire, so that equal messages have
// equal bytes.
func (e *encoder) sort(md message.Metadata) {
	e.forget()
	for k, v := range md {
		if k != fieldUUID {
			e.sorted = append(e.sorted, pair{k, v})
		}
	}
	slices.SortFunc(e.sorted, func(a, b pair) int { return wire.Compare(a.key, b.key) })
}

// forget lets go of the metadata of the last message.
func (e *encoder) forget() {
	clear(e.sorted)
	e.sorted = e.sorted[:0]
}

// append appends the fields of m, names and values in turn, to args.
func (e *encoder) append(args []any, m *message.Message) ([]any, error) {
	if v, ok := m.Metadata[fieldUUID]; ok && v != m.UUID {
		return args, fmt.Errorf("metadata %q is reserved for the message's UUID", fieldUUID)
	}
	e.sort(m.Metadata)
	args = append(args, fieldUUID, &m.UUID)
	if e.form == FormText {
		return e.appendText(args, m)
	}
	var md packed
	if len(e.sorted) > 0 {
		start := len(e.buffer)
		e.buffer = appendMetadata(e.buffer, e.sorted)
		md = e.buffer[start:len(e.buffer):len(e.buffer)]
	}
	e.packed = append(e.packed, md)
	return append(args, fieldMetadata, &e.packed[len(e.packed)-1], fieldPayload, (*payload)(m)), nil
}

// begin makes ready for the messages of one call. What was appended for an
// earlier one is no longer valid.
func (e *encoder) begin(messages int) {
	e.buffer = slices.Grow(e.buffer[:0], 384*messages)
	e.packed = slices.Grow(e.packed[:0], messages)
}

var errNotText = errors.New("is not UTF-8, and the text form is chosen for readers that stop at such an entry; use the watermill form or a codec whose output is text")

func (e *encoder) appendText(args []any, m *message.Message) ([]any, error) {
	if !utf8.Valid(m.Payload) {
		return args, fmt.Errorf("payload %w", errNotText)
	}
	for _, p := range e.sorted {
		if p.key == fieldMetadata || p.key == fieldPayload {
			return args, fmt.Errorf("metadata %q is reserved in the text form", p.key)
		}
		if !utf8.ValidString(p.key) || !utf8.ValidString(p.value) {
			return args, fmt.Errorf("metadata %q %w", p.key, errNotText)
		}
		args = append(args, p.key, p.value)
	}
	return append(args, fieldPayload, (*payload)(m)), nil
}
