package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line of the input. The longest sensible command has some
// hundred bytes; what is longer is skipped without being held in memory.
const maxLine = 64 << 10

// line is one line of the input, or why it could not be read.
type line struct {
	number  int
	text    []byte
	command command // once it is decoded
	err     error
}

// readLines sends the lines of r, blank ones left out, and closes the channel
// at the end. An error of r itself comes last, with number 0. When ctx ends it
// stops, as soon as r returns.
func readLines(ctx context.Context, r io.Reader) <-chan line {
	out := make(chan line, 16)
	go func() {
		defer close(out)
		send := func(l line) bool {
			select {
			case out <- l:
				return true
			case <-ctx.Done():
				return false
			}
		}
		br := bufio.NewReaderSize(r, maxLine)
		for n := 1; ; n++ {
			text, length, err := readLine(br)
			if n == 1 {
				text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
			}
			l := line{number: n, text: bytes.Clone(bytes.TrimSpace(text))}
			if text == nil && length > 0 {
				l.err = fmt.Errorf("it has %s bytes, at most %s are read", thousands(length), thousands(maxLine))
			}
			if (l.err != nil || len(l.text) > 0) && !send(l) {
				return
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					send(line{err: fmt.Errorf("line %d: read the input: %w", n, err)})
				}
				return
			}
		}
	}()
	return out
}

// readLine returns the next line and its length. Of a line that does not fit
// the buffer it returns the length alone.
func readLine(br *bufio.Reader) (text []byte, length int, err error) {
	text, err = br.ReadSlice('\n')
	if length = len(text); !errors.Is(err, bufio.ErrBufferFull) {
		return text, length, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		text, err = br.ReadSlice('\n')
		length += len(text)
	}
	return nil, length, err
}
