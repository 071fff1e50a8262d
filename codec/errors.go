package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrTooLarge reports a document of more bytes than the codec allows. It is
	// found with errors.Is inside an [*EncodeError] or a [*DecodeError].
	ErrTooLarge = errors.New("document too large")

	// ErrTooDeep reports a document that is nested deeper than the codec allows.
	// It is found with errors.Is inside an [*EncodeError] or a [*DecodeError].
	ErrTooDeep = errors.New("document nested too deep")
)

// EncodeError reports an event that could not be turned into bytes. Nothing was
// sent; the same event fails again.
type EncodeError struct {
	ContentType string // of the codec that refused
	Type        string // Go type of the event, such as "orders.OrderCreated"
	Err         error  // the cause
}

// Error names the type and the cause, never the event's values, unless a
// MarshalJSON method of the user put them into its own error.
func (e *EncodeError) Error() string {
	return "codec: encode " + e.Type + ": " + describe(e.Err)
}

// Unwrap returns the cause.
func (e *EncodeError) Unwrap() error { return e.Err }

// DecodeError reports bytes that are no document of the wanted type. Trying
// again does not help: such a message belongs in the dead letter queue, with
// its bytes untouched.
type DecodeError struct {
	ContentType string // of the codec that refused
	Type        string // Go type that was to be filled, empty for a peek
	Err         error  // the cause
}

// Error names the type and the cause. Values of the document are left out,
// unless an UnmarshalJSON method of the user put them into its own error.
func (e *DecodeError) Error() string {
	if e.Type == "" {
		return "codec: decode: " + describe(e.Err)
	}
	return "codec: decode " + e.Type + ": " + describe(e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// Undecodable is always true. By this method consumers tell a message that can
// never be read from a handler that failed, without knowing this package.
func (e *DecodeError) Undecodable() bool { return true }

// TypeError is what [Check] returns for a type that is no event: every problem
// with it at once, one a line in the error's text.
type TypeError struct {
	Type     string   // Go type that was checked
	Problems []string // at least one
}

// Error lists every problem with the type.
func (e *TypeError) Error() string {
	return "codec: check " + e.Type + ": " + strings.Join(e.Problems, "\ncodec: check "+e.Type+": ")
}

// describe is the text of a cause without values from the document: errors end
// in logs, and a payload may hold what must not be there.
func describe(err error) string {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		// Value is "number 4111...": its first word is the kind, the rest the value.
		kind, _, _ := strings.Cut(mismatch.Value, " ")
		where := ""
		if mismatch.Field != "" {
			where = "field " + mismatch.Field + ": "
		}
		return fmt.Sprintf("%s%s at byte %d does not fit Go type %s", where, kind, mismatch.Offset, mismatch.Type)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("invalid JSON at byte %d", syntax.Offset)
	}
	var badTime *time.ParseError
	if errors.As(err, &badTime) {
		return "a time is not in the form of RFC 3339"
	}
	return err.Error()
}
