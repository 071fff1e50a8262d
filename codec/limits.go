package codec

import (
	"bytes"
	"fmt"
)

// Defaults of [JSON]'s limits.
const (
	// DefaultMaxBytes is 1 MiB: what Kafka takes in one record by default, and
	// far more than an event should be. A smaller one refuses events that every
	// broker would carry; with a larger one, a few hostile messages in flight
	// fill the memory.
	DefaultMaxBytes = 1 << 20

	// DefaultMaxDepth is 64 levels. People do not nest that deep; programs that
	// do so by mistake, or on purpose, cost stack and time.
	DefaultMaxDepth = 64

	// NoLimit as a limit's value switches that limit off.
	NoLimit = -1
)

// checkSize reports a document of more than limit bytes.
func checkSize(size, limit int) error {
	if limit >= 0 && size > limit {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, limit)
	}
	return nil
}

// checkDepth reports a document that is nested deeper than limit levels, the
// outermost object being the first. It judges nesting only; what is no JSON at
// all is left to the decoder.
func checkDepth(doc []byte, limit int) error {
	if limit < 0 {
		return nil
	}
	// A document has as many levels as opening brackets at most, and counting
	// them is much faster than following the text. Nearly all end here.
	if bytes.Count(doc, []byte{'{'})+bytes.Count(doc, []byte{'['}) <= limit {
		return nil
	}
	depth, inString := 0, false
	for i := 0; i < len(doc); i++ {
		c := doc[i]
		if inString {
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			if depth++; depth > limit {
				return fmt.Errorf("%w: more than %d levels", ErrTooDeep, limit)
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// limit resolves a configured limit: 0 is the default, negative is none.
func limit(configured, byDefault int) int {
	if configured == 0 {
		return byDefault
	}
	return configured
}
