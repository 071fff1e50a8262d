package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sync"
)

// maxPooled is the capacity above which a buffer is left to the collector: one
// huge event must not be remembered by every later small one.
const maxPooled = 64 << 10

// scratch is what one Encode needs and the next one can use again.
type scratch struct {
	buf    bytes.Buffer
	enc    *json.Encoder
	header []byte
}

var scratches = sync.Pool{New: func() any {
	s := &scratch{}
	s.enc = json.NewEncoder(&s.buf)
	s.enc.SetEscapeHTML(false)
	return s
}}

// marshal encodes v and returns the text, which is valid until the scratch is
// put back. Texts of one scratch lie one behind the other.
func (s *scratch) marshal(v any) ([]byte, error) {
	start := s.buf.Len()
	if err := s.enc.Encode(v); err != nil {
		return nil, err
	}
	doc := s.buf.Bytes()[start:]
	return doc[:len(doc)-1], nil // Encode ends with a line feed
}

func (s *scratch) free() {
	if s.buf.Cap() > maxPooled || cap(s.header) > maxPooled {
		return
	}
	s.buf.Reset()
	s.header = s.header[:0]
	scratches.Put(s)
}

// reader is what one Decode needs and the next one can use again: a decoder is
// an expensive thing to build, and it is happy to read one document behind the
// other from a stream.
type reader struct {
	brace bool // an opening brace comes before rest
	rest  []byte
	dec   *json.Decoder
}

var readers = sync.Pool{New: func() any {
	r := &reader{}
	r.dec = json.NewDecoder(r)
	r.dec.UseNumber()
	return r
}}

// Read hands the decoder the document of the day.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.brace {
		r.brace, p[0] = false, '{'
		return 1, nil
	}
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// unmarshal decodes the object that doc holds from the offset on, with nothing
// behind it. An offset greater than 0 is that of a member: the object is then
// read as if it began there. The reader can be used again only when it returns
// nil.
func (r *reader) unmarshal(doc []byte, offset int, v any) error {
	start := r.dec.InputOffset()
	r.rest = doc[offset:]
	want := int64(len(r.rest))
	if r.brace = offset > 0; r.brace {
		want++
	}
	shift := int64(len(doc)) - want
	if err := r.dec.Decode(v); err != nil {
		// Offsets in errors are those of the stream, or of the object that was
		// read: the user knows neither.
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			syntax.Offset += shift - start
		}
		var mismatch *json.UnmarshalTypeError
		if errors.As(err, &mismatch) {
			mismatch.Offset += shift
		}
		return err
	}
	if r.dec.InputOffset()-start != want {
		return errTrailing
	}
	r.rest = nil
	return nil
}
