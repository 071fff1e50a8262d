package rabbitbus

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus"
)

// ErrClosed is returned by everything that was closed. It is the facade's own,
// so that one test serves bus and transport.
var ErrClosed = eventbus.ErrClosed

// ErrUnknown is wrapped in the error of a message that may or may not be in its
// queues: the connection or the context ended between writing and the
// confirmation. Publishing it again may double it.
var ErrUnknown = eventbus.ErrUnknown

var (
	errGone   = errors.New("the connection that was given is closed")
	errNotURL = errors.New("not a URL")
	errNack   = errors.New("nacked: a queue is full and rejects, or the broker could not store it")
)

// RefusedError reports what the broker answered with an error: it did nothing.
// Code is the reply code of AMQP: 403 access refused, 404 not found, 405
// resource locked, 406 precondition failed, 530 not allowed, ...; 0 when a
// publishing was nacked.
type RefusedError struct {
	Code int   // the reply code
	Err  error // the answer
}

// Error quotes the broker.
func (e *RefusedError) Error() string { return "refused by the broker: " + e.Err.Error() }

// Unwrap returns the broker's answer.
func (e *RefusedError) Unwrap() error { return e.Err }

// UnroutableError reports a message that no queue took: nothing is bound to the
// exchange that matches its routing key. It is not stored anywhere.
type UnroutableError struct {
	Exchange   string // that was published to
	RoutingKey string // that no queue is bound by
}

// Error names exchange and routing key.
func (e *UnroutableError) Error() string {
	return fmt.Sprintf("unroutable: no queue is bound to exchange %q for routing key %q", e.Exchange, e.RoutingKey)
}

// BlockedError reports a message that was not sent because the broker takes
// nothing for now: an alarm for memory or disk. Err is what ended the wait.
type BlockedError struct {
	Reason string // as the broker gave it
	Err    error  // what ended the wait
}

// Error quotes the broker's reason.
func (e *BlockedError) Error() string {
	return fmt.Sprintf("the broker blocks publishing (%s): %v", e.Reason, e.Err)
}

// Unwrap returns what ended the wait.
func (e *BlockedError) Unwrap() error { return e.Err }

// ConnectError reports that no connection was made or that the broker did not
// let us in. Err is the cause: a *net.OpError, a *tls.CertificateVerificationError,
// a [*RefusedError] with the code 403, ...
type ConnectError struct {
	Addr string // host and port
	Err  error
}

// Error tells address and cause; it holds no user name and no password.
func (e *ConnectError) Error() string {
	return fmt.Sprintf("rabbitbus: connect %s: %v", e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// brokerCode returns the reply code of an error that the broker answered with;
// 0 for any other error.
func brokerCode(err error) int {
	var answer *amqp.Error
	if errors.As(err, &answer) && answer.Server {
		return answer.Code
	}
	return 0
}

// refused types the errors that the broker answered with.
func refused(err error) error {
	var already *RefusedError
	if code := brokerCode(err); code != 0 && !errors.As(err, &already) {
		return &RefusedError{Code: code, Err: err}
	}
	return err
}

// lasting reports whether the broker would give the same answer again: what is
// wrong is not the connection.
func lasting(err error) bool {
	switch brokerCode(err) {
	case amqp.AccessRefused, amqp.NotFound, amqp.PreconditionFailed, amqp.NotAllowed, amqp.NotImplemented, amqp.CommandInvalid:
		return true
	}
	var topology *TopologyError
	return errors.As(err, &topology)
}
