package redisbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// The stock adapter writes metadata as a MessagePack map of strings. These few
// lines write exactly its bytes and read what it and its versions wrote; a
// MessagePack library would be linked into every user's program for them.

// appendMetadata appends the pairs, in their order, as a map as the stock
// adapter's library encodes it.
func appendMetadata(b []byte, pairs []pair) []byte {
	switch n := len(pairs); {
	case n < 16:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdf), uint32(n))
	}
	for _, p := range pairs {
		b = appendText(b, p.key)
		b = appendText(b, p.value)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n < 0x100:
		b = append(b, 0xd9, byte(n))
	case n < 0x10000:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}

var errShort = errors.New("it ends too early")

// metadataReader reads a MessagePack map of strings. Values of other simple
// types, which other programs write, become their text; a nested value is an
// error.
type metadataReader struct {
	s   string
	pos int
}

func readMetadata(s string) (map[string]string, error) {
	r := metadataReader{s: s}
	n, err := r.mapLen()
	if err != nil {
		return nil, fmt.Errorf("metadata: byte %d: %w", r.pos, err)
	}
	// Each pair needs two bytes at least, so that a forged length allocates
	// nothing that the entry does not carry.
	if n > (len(s)-r.pos)/2 {
		return nil, fmt.Errorf("metadata: %d pairs: %w", n, errShort)
	}
	md := make(map[string]string, n)
	for range n {
		k, err := r.value()
		if err == nil {
			var v string
			if v, err = r.value(); err == nil {
				md[k] = v
			}
		}
		if err != nil {
			return nil, fmt.Errorf("metadata: byte %d: %w", r.pos, err)
		}
	}
	if r.pos != len(s) {
		return nil, fmt.Errorf("metadata: byte %d: more bytes than the map has", r.pos)
	}
	return md, nil
}

func (r *metadataReader) mapLen() (int, error) {
	c, err := r.take(1)
	if err != nil {
		return 0, err
	}
	switch code := c[0]; {
	case code == 0xc0:
		return 0, nil
	case code&0xf0 == 0x80:
		return int(code & 0x0f), nil
	case code == 0xde:
		return r.length(2)
	case code == 0xdf:
		return r.length(4)
	default:
		return 0, fmt.Errorf("type %#x is not a map", code)
	}
}

// value reads one key or value as text.
func (r *metadataReader) value() (string, error) {
	c, err := r.take(1)
	if err != nil {
		return "", err
	}
	switch code := c[0]; {
	case code&0xe0 == 0xa0:
		return r.take(int(code & 0x1f))
	case code < 0x80:
		return strconv.Itoa(int(code)), nil
	case code >= 0xe0:
		return strconv.Itoa(int(int8(code))), nil
	case code == 0xc0:
		return "", nil
	case code == 0xc2:
		return "false", nil
	case code == 0xc3:
		return "true", nil
	case code == 0xd9, code == 0xc4:
		return r.text(1)
	case code == 0xda, code == 0xc5:
		return r.text(2)
	case code == 0xdb, code == 0xc6:
		return r.text(4)
	case code >= 0xcc && code <= 0xcf:
		u, err := r.uint(1 << (code - 0xcc))
		return strconv.FormatUint(u, 10), err
	case code >= 0xd0 && code <= 0xd3:
		size := 1 << (code - 0xd0)
		u, err := r.uint(size)
		shift := 64 - 8*size
		return strconv.FormatInt(int64(u)<<shift>>shift, 10), err
	default:
		return "", fmt.Errorf("type %#x is not text", code)
	}
}

func (r *metadataReader) text(lengthBytes int) (string, error) {
	n, err := r.length(lengthBytes)
	if err != nil {
		return "", err
	}
	return r.take(n)
}

func (r *metadataReader) length(bytes int) (int, error) {
	u, err := r.uint(bytes)
	if err != nil {
		return 0, err
	}
	if u > uint64(len(r.s)) {
		return 0, fmt.Errorf("length %d: %w", u, errShort)
	}
	return int(u), nil
}

func (r *metadataReader) uint(bytes int) (uint64, error) {
	s, err := r.take(bytes)
	var u uint64
	for i := range len(s) {
		u = u<<8 | uint64(s[i])
	}
	return u, err
}

// take returns the next n bytes, without copying them.
func (r *metadataReader) take(n int) (string, error) {
	if n > len(r.s)-r.pos {
		return "", errShort
	}
	s := r.s[r.pos : r.pos+n]
	r.pos += n
	return s, nil
}
