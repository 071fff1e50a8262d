package redisbus

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
)

// reply is an answer of the server as it came (RESP2 or RESP3), which is taken
// apart from the front. go-redis makes a map of each entry, and a string of each
// name in it: a fourth of what it costs to consume an event.
type reply []byte

// replyError is an error that the server answered with; see redis.Error.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError marks it as the server's.
func (e replyError) RedisError() {}

var errReply = errors.New("redisbus: read: the server's answer is not what XREADGROUP answers")

// intake is where a client writes an answer. Its memory is used again.
type intake struct{ b []byte }

var (
	_ io.Writer     = (*intake)(nil)
	_ io.ReaderFrom = (*intake)(nil)
)

// keepIntake is how much memory is kept for the next answer.
const keepIntake = 1 << 20

// longestValue is twice what a value of Redis can have by default. Memory for what
// is announced beyond it is not taken.
const longestValue = 1 << 30

// begin makes it empty.
func (in *intake) begin() {
	if cap(in.b) > keepIntake {
		in.b = nil
	}
	in.b = in.b[:0]
}

// Write takes a line.
func (in *intake) Write(p []byte) (int, error) {
	in.b = append(in.b, p...)
	return len(p), nil
}

// ReadFrom takes a string, which the client limits src to, without a buffer in
// between.
func (in *intake) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{in}, src)
	}
	if limited.N > longestValue {
		return 0, errReply
	}
	at := len(in.b)
	in.b = slices.Grow(in.b, int(limited.N))[:at+int(limited.N)]
	n, err := io.ReadFull(limited.R, in.b[at:])
	limited.N -= int64(n)
	return int64(n), err
}

// eachEntry calls do for each entry in the answer to an XREADGROUP. The fields
// are valid during the call only.
func eachEntry(answer []byte, do func(id string, fields []field)) error {
	r := reply(answer)
	paired := bytes.HasPrefix(r, []byte("*")) // RESP2 has an array of pairs, RESP3 a map
	streams, err := r.list()
	if err != nil {
		return err
	}
	var fields []field
	for range streams {
		if paired {
			if n, err := r.list(); err != nil || n != 2 {
				return errors.Join(errReply, err)
			}
		}
		if _, err := r.text(); err != nil { // its name
			return err
		}
		entries, err := r.list()
		if err != nil {
			return err
		}
		for range entries {
			var id []byte
			if id, fields, err = r.entry(fields[:0]); err != nil {
				return err
			}
			do(string(id), fields)
		}
	}
	return nil
}

// entry reads an id and its fields, and appends these.
func (r *reply) entry(fields []field) ([]byte, []field, error) {
	if n, err := r.list(); err != nil || n != 2 {
		return nil, fields, errors.Join(errReply, err)
	}
	id, err := r.text()
	if err != nil {
		return nil, fields, err
	}
	n, err := r.list()
	if err != nil || n%2 != 0 {
		return nil, fields, errors.Join(errReply, err)
	}
	for range n / 2 {
		var f field
		if f.name, err = r.text(); err == nil {
			f.value, err = r.text()
		}
		if err != nil {
			return nil, fields, err
		}
		fields = append(fields, f)
	}
	return id, fields, nil
}

// list reads the head of an array or a map; null is an empty one.
func (r *reply) list() (int, error) {
	kind, n, err := r.head()
	switch {
	case err != nil:
		return 0, err
	case kind == '_', n < 0:
		return 0, nil
	case kind == '*', kind == '%':
		return n, nil
	}
	return 0, errReply
}

// text reads a string.
func (r *reply) text() ([]byte, error) {
	kind, n, err := r.head()
	if err != nil {
		return nil, err
	}
	if kind != '$' || n < 0 || n > len(*r)-2 {
		return nil, errReply
	}
	v := (*r)[:n:n]
	*r = (*r)[n+2:]
	return v, nil
}

// head reads a line: what follows, and how much of it. An error in the answer is
// returned as such.
func (r *reply) head() (kind byte, n int, err error) {
	line, rest, ok := bytes.Cut(*r, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return 0, 0, errReply
	}
	*r = rest
	switch kind = line[0]; kind {
	case '-':
		return 0, 0, replyError(line[1:])
	case '_':
		return kind, 0, nil
	}
	if n, err = strconv.Atoi(string(line[1:])); err != nil {
		return 0, 0, errReply
	}
	return kind, n, nil
}
