package eventbus

import (
	"fmt"
	"strconv"
)

// maxNameBytes bounds the names of event types, aggregates, handlers, topics
// and groups: they become routing keys (255 bytes at most on RabbitMQ, two of
// them and a dot), metric attributes and keys of letters.
const maxNameBytes = 120

// checkName tells what is wrong with a name: it wants 1 to 120 bytes of ASCII
// letters, digits, '_', '-', '.', ':' or '/'.
func checkName(what, name string) error {
	return checkBytes(what, name, "_ - . : /", nameByte)
}

// checkTopic permits braces, too: they are Redis Cluster's hash tag. A backend
// whose broker does not want them says so itself.
func checkTopic(name string) error {
	return checkBytes("topic", name, "_ - . : / { }", func(c byte) bool { return c == '{' || c == '}' || nameByte(c) })
}

func checkBytes(what, name, signs string, allowed func(byte) bool) error {
	if name == "" {
		return fmt.Errorf("%w: %s: must not be empty", ErrInvalidName, what)
	}
	if len(name) > maxNameBytes {
		return fmt.Errorf("%w: %s %s: has %d bytes, at most %d are allowed", ErrInvalidName, what, strconv.Quote(name[:32]+"..."), len(name), maxNameBytes)
	}
	for i := range len(name) {
		if !allowed(name[i]) {
			return fmt.Errorf("%w: %s %s: character %q at byte %d; letters, digits and %s are allowed", ErrInvalidName, what, strconv.Quote(name), name[i], i, signs)
		}
	}
	return nil
}

func nameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '_', c == '-', c == '.', c == ':', c == '/':
		return true
	}
	return false
}
