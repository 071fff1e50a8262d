package eventbus

import (
	"errors"
	"fmt"
	"strings"
)

// States and kinds of mistakes, to be tested for with errors.Is.
var (
	// ErrClosed is returned by Publish, Subscribe, Run and Mount of a bus that
	// was shut down, in all their forms.
	ErrClosed = errors.New("eventbus: the bus is closed")
	// ErrRunning is returned by Run and Mount when the bus already consumes:
	// it does so once in its life.
	ErrRunning = errors.New("eventbus: the bus is already running or mounted")
	// ErrNoSubscriber is returned by Run and Mount of a bus that was opened
	// without a Subscriber, to publish only.
	ErrNoSubscriber = errors.New("eventbus: the bus has no Subscriber: it can publish only")
	// ErrSubscriptionEnded is wrapped by what Run returns when the Subscriber
	// closed the subscription though nobody had asked it to: nothing would be
	// consumed any more. Stock adapters do so on an entry they cannot read.
	ErrSubscriptionEnded = errors.New("eventbus: the subscriber ended the subscription by itself")
	// ErrInvalidName is wrapped by every refusal of a name: names have 1 to 120
	// bytes of ASCII letters, digits and _ - . : /
	ErrInvalidName = errors.New("invalid name")
	// ErrDuplicate is wrapped when a name or a type is taken.
	ErrDuplicate = errors.New("duplicate")
	// ErrUnregistered is wrapped when the registry of the bus does not know an
	// event's type; declare it with Register.
	ErrUnregistered = errors.New("event type not registered")
	// ErrInvalidEvent is wrapped when Publish refuses an event.
	ErrInvalidEvent = errors.New("invalid event")
	// ErrNilHandler is wrapped when a handler, a function or a subscriber is
	// nil.
	ErrNilHandler = errors.New("nil handler")
	// ErrNilBus is wrapped by what [Subscribe] returns when the bus is nil in
	// any of Go's ways, or a zero value: mostly the error of its Open went unseen.
	ErrNilBus = errors.New("the bus is nil or was never opened")
	// ErrNoTypes is wrapped by SubscribeAll when the subscriber declares no
	// types.
	ErrNoTypes = errors.New("the subscriber declares no event types")
	// ErrUnknown is wrapped in the error of an event whose publishing may or
	// may not have reached the broker. Publishing it again may double it.
	ErrUnknown = errors.New("outcome unknown")
)

// RegistrationError reports why [Register] refused a type; Err joins every
// problem found.
type RegistrationError struct {
	Name   string // the wire name
	GoType string // the type that was to get it
	Err    error  // all its problems, joined
}

// Error names the type and each problem.
func (e *RegistrationError) Error() string {
	return fmt.Sprintf("eventbus: register %s as %s: %v", e.GoType, clip(e.Name), e.Err)
}

// Unwrap returns the problems, joined.
func (e *RegistrationError) Unwrap() error { return e.Err }

// SubscribeError reports why a subscription was refused; nothing was changed.
type SubscribeError struct {
	Handler string // the name that was asked for
	Type    string // the Go type, empty for a wildcard
	Err     error  // ErrDuplicate, ErrInvalidName, ...
}

// Error names handler, type and reason.
func (e *SubscribeError) Error() string {
	on := e.Type
	if on == "" {
		on = "all events"
	}
	return fmt.Sprintf("eventbus: subscribe %s to %s: %v", clip(e.Handler), on, e.Err)
}

// Unwrap returns the reason.
func (e *SubscribeError) Unwrap() error { return e.Err }

// Outcome tells what is known about an event after Publish.
type Outcome int

const (
	// Confirmed events are with the broker (in memory: handled).
	Confirmed Outcome = iota
	// Refused events are not: they were never sent, or the broker said no.
	Refused
	// Unknown events may or may not be: the connection or the context ended
	// between sending and confirmation.
	Unknown
)

// String returns "confirmed", "refused" or "unknown".
func (o Outcome) String() string {
	switch o {
	case Confirmed:
		return "confirmed"
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Result is the outcome of one event of a Publish. Err is nil exactly when
// Outcome is Confirmed.
type Result struct {
	EventID   string // as the event has it
	EventType string // the wire name, when the type is registered
	Outcome   Outcome
	Err       error // nil when the event is confirmed
}

// PublishError is returned by Publish when not every event is confirmed. It
// has a result for each event, in the order in which they were given, so that
// a caller can publish again exactly what is missing; what is Unknown may then
// be doubled. errors.Is and errors.As look through all the results.
type PublishError struct {
	Topic   string   // that was published to
	Results []Result // one for each event, in their order
}

// Error counts the outcomes and quotes the first failure.
func (e *PublishError) Error() string {
	confirmed, refused, unknown := e.Counts()
	var first string
	for _, r := range e.Results {
		if r.Err != nil {
			first = fmt.Sprintf("event %s of type %s %s: %v", clip(r.EventID), clip(r.EventType), r.Outcome, r.Err)
			break
		}
	}
	return fmt.Sprintf("eventbus: publish to %q: %d confirmed, %d refused, %d unknown: %s", e.Topic, confirmed, refused, unknown, first)
}

// Counts returns how many events had each outcome.
func (e *PublishError) Counts() (confirmed, refused, unknown int) {
	for _, r := range e.Results {
		switch r.Outcome {
		case Confirmed:
			confirmed++
		case Refused:
			refused++
		case Unknown:
			unknown++
		}
	}
	return confirmed, refused, unknown
}

// Unwrap returns the errors of the events that are not confirmed.
func (e *PublishError) Unwrap() []error {
	var errs []error
	for _, r := range e.Results {
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
	}
	return errs
}

// UndecodableError is the error of a message that is not an event: foreign, or with
// a payload that cannot be decoded. It is never retried and becomes a letter.
type UndecodableError struct {
	Type string // the wire name, when there was one
	Err  error  // the codec's, mostly a *codec.DecodeError
}

// Error says what was wrong, without the payload.
func (e *UndecodableError) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("eventbus: decode message: %v", e.Err)
	}
	return fmt.Sprintf("eventbus: decode event of type %s: %v", clip(e.Type), e.Err)
}

// Unwrap returns the cause.
func (e *UndecodableError) Unwrap() error { return e.Err }

// Undecodable marks the error for middleware.DeadLetter.
func (e *UndecodableError) Undecodable() bool { return true }

// clip quotes text of unknown origin for an error: short, and on one line.
func clip(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}
