package aggregate

import "fmt"

// ConflictError reports that somebody else has appended to the aggregate since
// it was loaded. Nothing was stored or published: load it again and repeat the
// command.
type ConflictError struct {
	Stream   Stream // the aggregate
	Expected int64  // the version that the change was based on
	Actual   int64  // the version in the store
}

// Error names the aggregate and both versions.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("aggregate: save %s: it has changed: version %d is stored, the change is based on version %d", e.Stream, e.Actual, e.Expected)
}

// NotFoundError reports that the store has no event of the aggregate.
type NotFoundError struct {
	Stream Stream // the aggregate
}

// Error names the aggregate.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("aggregate: load %s: there is none", e.Stream)
}

// UnpublishedError reports that events are stored and not known to be
// published. The change of the aggregate is made: do not repeat the command,
// call [Repository.PublishPending]. A later Save of the aggregate publishes
// them too.
type UnpublishedError struct {
	Stream   Stream   // the aggregate
	EventIDs []string // oldest first
	Err      error    // what Publish returned, an *eventbus.PublishError from a bus, or the store
}

// Error names the aggregate, the number of events and the cause.
func (e *UnpublishedError) Error() string {
	return fmt.Sprintf("aggregate: %s: stored, but %d events are not known to be published: %v", e.Stream, len(e.EventIDs), e.Err)
}

// Unwrap returns the cause.
func (e *UnpublishedError) Unwrap() error { return e.Err }

// InvalidError reports events that the publisher would refuse, of a type that
// its registry does not know, say. They were not stored, and the aggregate
// still has them as raised. Err is the publisher's, for a bus an
// *eventbus.PublishError.
type InvalidError struct {
	Stream Stream // the aggregate
	Err    error  // the publisher's refusal
}

// Error names the aggregate and the refusal.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("aggregate: save %s: nothing stored: %v", e.Stream, e.Err)
}

// Unwrap returns the publisher's refusal.
func (e *InvalidError) Unwrap() error { return e.Err }
