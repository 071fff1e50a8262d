package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"unicode/utf8"
)

// ContentTypeJSON is the media type of [JSON]'s documents.
const ContentTypeJSON = "application/json"

var (
	errNotAnObject = errors.New("not a JSON object")
	errTrailing    = errors.New("there is text behind the JSON object")
	errNotUTF8     = errors.New("not valid UTF-8")
	errCutOff      = errors.New("the JSON object is cut off")
)

// JSON writes an event as one JSON object: the header's members first, in
// Header's order, then the event's own fields as encoding/json gives them.
//
//   - Absent header values are null and never left out; metadata is {} when
//     there is none.
//   - occurred_at is RFC 3339 in UTC with a Z, cut to microseconds: six digits
//     of fraction, or none when they are zero. Read are Z and any offset.
//   - Nothing is escaped for HTML, no blanks are written.
//
// Reading takes numbers in fields of type any, Metadata's included, as
// json.Number, so that large ones survive; null as absent; and ignores members
// that the type does not have: a newer producer may send more. Invalid UTF-8,
// which encoding/json would replace silently, is refused.
//
// The zero value is ready for use. A JSON may be used from many goroutines.
type JSON struct {
	// MaxBytes limits a document's size, checked before decoding and after
	// encoding. 0 means [DefaultMaxBytes], [NoLimit] no limit.
	MaxBytes int

	// MaxDepth limits a document's nesting, the outermost object being level
	// 1, checked before decoding and after encoding. 0 means
	// [DefaultMaxDepth], [NoLimit] encoding/json's own limit of 10,000.
	MaxDepth int
}

var (
	_ Codec         = JSON{}
	_ VersionPeeker = JSON{}
)

// ContentType returns [ContentTypeJSON].
func (JSON) ContentType() string { return ContentTypeJSON }

// Encode implements [Codec].
//
// An event over the limits is refused here too: its consumers would bury it.
// Strings of the header that are not valid UTF-8 are refused; in own fields
// encoding/json replaces the bad bytes by U+FFFD.
func (c JSON) Encode(h *Header, event any) ([]byte, error) {
	doc, err := c.encode(h, event)
	if err != nil {
		return nil, &EncodeError{ContentType: ContentTypeJSON, Type: typeName(event), Err: err}
	}
	return doc, nil
}

func (c JSON) encode(h *Header, event any) ([]byte, error) {
	l, v, err := layoutOf(event)
	if err != nil {
		return nil, err
	}
	if h == nil {
		h = headerOf(v)
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	s.header, err = s.appendHeader(s.header[:0], h)
	if err != nil {
		return nil, err
	}
	own, err := l.own(v, s)
	if err != nil {
		return nil, err
	}
	size := len(s.header) + len(own)
	if err := checkSize(size, limit(c.MaxBytes, DefaultMaxBytes)); err != nil {
		return nil, err
	}
	doc := append(append(make([]byte, 0, size), s.header...), own...)
	if err := checkDepth(doc, limit(c.MaxDepth, DefaultMaxDepth)); err != nil {
		return nil, err
	}
	return doc, nil
}

// Decode implements [Codec]. Members that occur twice: the last one counts.
func (c JSON) Decode(data []byte, event any) error {
	if err := c.decode(data, event); err != nil {
		return &DecodeError{ContentType: ContentTypeJSON, Type: typeName(event), Err: err}
	}
	return nil
}

func (c JSON) decode(data []byte, event any) error {
	_, v, err := layoutOf(event)
	if err != nil {
		return err
	}
	data, err = c.admit(data)
	if err != nil {
		return err
	}
	h := headerOf(v)
	head := *h
	offset, ok := parseHead(data, &head)
	if ok {
		*h = head
	} else {
		offset = 0
	}
	if err := unmarshal(data, offset, event); err != nil {
		return err
	}
	h.OccurredAt = h.OccurredAt.UTC()
	return nil
}

// Version implements [VersionPeeker]: it returns the document's event_version,
// 0 when that is absent or null. The whole document is checked, as by Decode.
func (c JSON) Version(data []byte) (int, error) {
	var peek struct {
		EventVersion int `json:"event_version"`
	}
	data, err := c.admit(data)
	if err == nil {
		err = unmarshal(data, 0, &peek)
	}
	if err != nil {
		return 0, &DecodeError{ContentType: ContentTypeJSON, Err: err}
	}
	return peek.EventVersion, nil
}

// admit checks the limits of a document, that it is UTF-8 and may be an object,
// and returns it without the blanks around it.
func (c JSON) admit(data []byte) ([]byte, error) {
	if err := checkSize(len(data), limit(c.MaxBytes, DefaultMaxBytes)); err != nil {
		return nil, err
	}
	data = bytes.Trim(data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' {
		return nil, errNotAnObject
	}
	if err := checkDepth(data, limit(c.MaxDepth, DefaultMaxDepth)); err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, errNotUTF8
	}
	return data, nil
}

// unmarshal decodes one JSON object from the offset on; see reader.
func unmarshal(data []byte, offset int, v any) error {
	r := readers.Get().(*reader)
	if err := r.unmarshal(data, offset, v); err != nil {
		// The decoder remembers errors and half a document: it is not put back.
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return errCutOff
		}
		return err
	}
	if len(data) <= maxPooled {
		readers.Put(r)
	}
	return nil
}

// typeName names the struct that event points to, without a package path.
func typeName(event any) string {
	t := reflect.TypeOf(event)
	if t == nil {
		return "nil"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.String()
}

// jsonMarshaler and jsonUnmarshaler are the methods that would take the document
// out of the codec's hands.
var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)
