package kafkabus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus"
)

// ErrClosed is returned by everything that was closed. It is the facade's own,
// so that one test serves bus and transport.
var ErrClosed = eventbus.ErrClosed

// ErrUnknown is wrapped in the error of a message that may or may not be in the
// topic: the context or the connection ended before the answer. The client goes
// on trying to deliver such a message until DeliveryTimeout has passed;
// publishing it again may double it.
var ErrUnknown = eventbus.ErrUnknown

// ErrPartitionLost is the cause with which a message's context ends when its
// partition was given to another member of the group. The other member gets
// the message again.
var ErrPartitionLost = errors.New("kafkabus: partition was given to another consumer")

// RefusedError reports a request that the broker, or the client on its behalf,
// answered with an error: it did nothing. Code is Kafka's name of the error:
// "MESSAGE_TOO_LARGE", "TOPIC_AUTHORIZATION_FAILED", "NOT_ENOUGH_REPLICAS", ...
type RefusedError struct {
	Code string // Kafka's name of the error
	Err  error  // a *kerr.Error
}

// Error quotes Kafka.
func (e *RefusedError) Error() string { return "refused: " + e.Err.Error() }

// Unwrap returns Kafka's error, a *kerr.Error.
func (e *RefusedError) Unwrap() error { return e.Err }

// ConnectError reports that no connection was made or that the brokers did not
// let us in. Err is the cause: a *net.OpError, a *tls.CertificateVerificationError,
// a tls.RecordHeaderError (the port does not speak TLS), a *kgo.ErrFirstReadEOF
// (it does, or wants a log-in), a [*RefusedError] with the code
// SASL_AUTHENTICATION_FAILED, ...
type ConnectError struct {
	Addr string // host and port of the brokers
	Err  error
}

// Error tells address, cause and what mostly is behind it; it holds no user
// name and no password.
func (e *ConnectError) Error() string {
	return fmt.Sprintf("kafkabus: connect %s: %s%v", e.Addr, hint(e.Err), e.Err)
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// hint says in a word what the client's error means.
func hint(err error) string {
	var expired x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	var eof *kgo.ErrFirstReadEOF
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "user or password is wrong: "
	case errors.Is(err, kerr.IllegalSaslState):
		return "the port wants no log-in, or another kind (SecurityProtocol): "
	case errors.As(err, &expired) && expired.Reason == x509.Expired:
		return "the certificate is expired: "
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "the certificate is not signed by the CA: "
	case errors.As(err, new(x509.HostnameError)):
		return "the certificate is for another host: "
	case errors.As(err, &plain):
		return "the port does not speak TLS: "
	case errors.As(err, &eof):
		return "one side speaks TLS and the other does not, or a log-in is wanted: "
	case strings.Contains(err.Error(), "tls alert record"): // the client has no type for it
		return "the port speaks TLS: "
	}
	return ""
}

// TopicError reports a topic that is not there and was not created, and the
// setting that has to do with it.
type TopicError struct {
	Topic   string // the one that is missing
	Setting string // the one that has to do with it
	Err     error  // the cause
}

// Error names topic and setting.
func (e *TopicError) Error() string {
	return fmt.Sprintf("kafkabus: topic %q is missing and was not created (%s): %v", e.Topic, e.Setting, e.Err)
}

// Unwrap returns the cause.
func (e *TopicError) Unwrap() error { return e.Err }

// refused types the errors that Kafka has a name for.
func refused(err error) error {
	var answer *kerr.Error
	if !errors.As(err, &answer) {
		return err
	}
	var known *RefusedError
	if errors.As(err, &known) {
		return err
	}
	return &RefusedError{Code: answer.Message, Err: err}
}

// published is the one place that decides what an error of a produced record
// means.
func published(topic string, err error) error {
	var answer *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer) && excludes(answer):
		return fmt.Errorf("kafkabus: publish to %q: %w", topic, refused(err))
	case errors.As(err, &answer):
		return fmt.Errorf("kafkabus: publish to %q: %w: %w", topic, ErrUnknown, refused(err))
	default:
		// Timed out, the client was closed, the connection broke: it may be
		// written, or not.
		return fmt.Errorf("kafkabus: publish to %q: %w: %w", topic, ErrUnknown, err)
	}
}

// excludes reports the answers that exclude that the record is in the log, or
// comes there. Others do not: a broker that shuts down may fail after it has
// written.
func excludes(answer *kerr.Error) bool {
	switch answer {
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.CorruptMessage,
		kerr.UnsupportedForMessageFormat, kerr.UnsupportedCompressionType, kerr.UnsupportedVersion, kerr.InvalidRequest,
		kerr.InvalidTopicException, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InconsistentTopicID,
		kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.SaslAuthenticationFailed,
		kerr.InvalidRequiredAcks, kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.PolicyViolation:
		return true
	}
	return false
}

// cause prefers the reason for which a context ended.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

func kerrOf(err error) (*kerr.Error, bool) {
	var answer *kerr.Error
	ok := errors.As(err, &answer)
	return answer, ok
}
