package transport

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"strings"
)

// InConfig returns the problems that the parts of a configuration report of
// theirs, a line each, under the names that the whole has for them: names are
// pairs of old and new, as for strings.NewReplacer. A field that two parts check
// is named once: the first says enough, so the one that quotes values comes first. What err wraps, the result wraps. nil
// stays nil.
func InConfig(err error, names ...string) error {
	if err == nil {
		return nil
	}
	rename := strings.NewReplacer(names...)
	said := make(map[string]string) // of a field: the part that spoke first
	seen := make(map[string]bool)
	var errs []error
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		part, _, _ := strings.Cut(line, ".")
		line = rename.Replace(line)
		field := fieldOf(line)
		if first, ok := said[field]; seen[line] || ok && first != part {
			continue
		}
		said[field], seen[line] = part, true
		errs = append(errs, &configError{line: line, err: err})
		err = nil
	}
	return errors.Join(errs...)
}

// fieldOf returns "backend: Config.Field" of a line.
func fieldOf(line string) string {
	pkg, rest, _ := strings.Cut(line, ":")
	field, _, _ := strings.Cut(rest, ":")
	return pkg + ":" + field
}

// configError is a line of text; the first has what the problems wrap, too.
type configError struct {
	line string
	err  error
}

func (e *configError) Error() string { return e.line }
func (e *configError) Unwrap() error { return e.err }

// ConsumerName returns a name that is unique without being asked for: the
// host's, and eight random digits. Two consumers of one name would take each
// other's unfinished messages for their own.
func ConsumerName() string {
	host, err := os.Hostname()
	if err != nil || host == "" || len(host) > longestHost {
		host = "consumer"
	}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails, says crypto/rand
	return host + "-" + hex.EncodeToString(random[:])
}

// longestHost leaves room in the 255 bytes that AMQP has for a name.
const longestHost = 200
