package redisbus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus"
)

// ErrClosed is returned by everything that was closed. It is the facade's own,
// so that one test serves bus and transport.
var ErrClosed = eventbus.ErrClosed

// ErrUnknown is wrapped in the error of a message that may or may not be in the
// stream: the connection or the context ended between writing and the answer.
// Publishing it again may double it.
var ErrUnknown = eventbus.ErrUnknown

// ErrNotSubscribed is returned by what needs a live subscription to the topic.
var ErrNotSubscribed = errors.New("redisbus: no subscription to the topic")

// RefusedError reports a command that the server answered with an error: it
// did nothing. Code is the first word of the answer: "OOM" when maxmemory is
// reached, "NOPERM" when the ACL user may not, "WRONGTYPE" when the key is no
// stream, "READONLY", "LOADING", "MISCONF" (the disk is full), ...
type RefusedError struct {
	Code string // the first word of the answer
	Err  error  // the answer
}

// Error quotes the server.
func (e *RefusedError) Error() string { return "refused by the server: " + e.Err.Error() }

// Unwrap returns the server's answer.
func (e *RefusedError) Unwrap() error { return e.Err }

// ConnectError reports that no connection was made or that the server did not
// let us in. Err is the cause: a *net.OpError, a *tls.CertificateVerificationError,
// a [*RefusedError] with the code WRONGPASS or NOAUTH, ...
type ConnectError struct {
	Addr string // host and port, or the path of a socket
	Err  error
}

// Error tells address and cause; it holds no user name and no password.
func (e *ConnectError) Error() string {
	return fmt.Sprintf("redisbus: connect %s: %v", e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// hinted adds what a connection without an answer may mean: a server that expects
// TLS hangs up on plain text, and one that does not waits for the rest of a hello.
func hinted(overTLS bool, err error) error {
	switch {
	case serverError(err) != "":
		return err
	case !overTLS && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("the server hung up before it answered; a port that speaks TLS wants rediss://: %w", err)
	case overTLS && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer over TLS; a port without it wants redis://: %w", err)
	}
	return err
}

// serverError returns the code of an error that the server answered with;
// empty for any other error, nil and redis.Nil included.
func serverError(err error) string {
	var answer redis.Error
	if err == nil || errors.Is(err, redis.Nil) || !errors.As(err, &answer) {
		return ""
	}
	code, _, _ := strings.Cut(answer.Error(), " ")
	return code
}

// refused types the errors that the server answered with.
func refused(err error) error {
	if code := serverError(err); code != "" {
		return &RefusedError{Code: code, Err: err}
	}
	return err
}

// published is the one place that decides what an error of XADD means.
func published(topic string, err error) error {
	switch {
	case err == nil:
		return nil
	case serverError(err) != "":
		// An answer, or a log-in that failed before anything was sent.
		return fmt.Errorf("redisbus: publish to %q: %w", topic, refused(err))
	case neverConnected(err):
		return fmt.Errorf("redisbus: publish to %q: not sent: %w", topic, err)
	default:
		// Written, wholly or in part; or perhaps not: a time-out of the log-in
		// looks the same.
		return fmt.Errorf("redisbus: publish to %q: %w: %w", topic, ErrUnknown, err)
	}
}

// neverConnected reports that no connection was there to write to.
func neverConnected(err error) bool {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "dial" ||
		errors.As(err, &cert) ||
		errors.Is(err, redis.ErrPoolTimeout) ||
		errors.Is(err, redis.ErrPoolExhausted) ||
		errors.Is(err, redis.ErrClosed)
}
