package brokers

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/leat-go/leat/integration/certs"
)

// kafkaAnswers is [answers] for Kafka.
func kafkaAnswers(ctx context.Context, vars []Var, set *certs.Set) error {
	for addr := range strings.SplitSeq(lookup(vars, EnvKafkaBrokers), ",") {
		if err := askKafka(ctx, strings.TrimSpace(addr), nil, ""); err != nil {
			return err
		}
	}
	if set == nil {
		return nil
	}

	anonymous, err := set.Client("")
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}
	known, err := set.Client(certs.Client)
	if err != nil {
		return err //nolint:wrapcheck // it names its package
	}
	if err := askKafka(ctx, lookup(vars, EnvKafkaSSLBrokers), anonymous, ""); err != nil {
		return err
	}
	if err := askKafka(ctx, lookup(vars, EnvKafkaMTLSBrokers), known, ""); err != nil {
		return err
	}
	login := "\x00" + lookup(vars, EnvKafkaSASLUser) + "\x00" + lookup(vars, EnvKafkaSASLPassword)

	return askKafka(ctx, lookup(vars, EnvKafkaSASLSSLBrokers), anonymous, login)
}

// Keys and versions of Kafka's requests. All are the newest that use the old,
// simple encoding and that brokers from 2.1 to 4.x know.
const (
	kafkaMetadata         = 3
	kafkaSaslHandshake    = 17
	kafkaApiVersions      = 18
	kafkaSaslAuthenticate = 36

	kafkaMetadataVersion      = 4
	kafkaSaslHandshakeVersion = 1
)

// askKafka asks for the versions, logs in with PLAIN when login is not empty,
// and asks who the cluster is: a broker that is up but has no controller yet
// does not pass.
func askKafka(ctx context.Context, addr string, trust *tls.Config, login string) error {
	conn, err := dial(ctx, addr, trust)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answers were read

	if err := talkKafka(conn, login); err != nil {
		return fmt.Errorf("brokers: ask kafka at %s: %w", addr, err)
	}

	return nil
}

func talkKafka(conn io.ReadWriter, login string) error {
	if _, err := kafkaRequest(conn, kafkaApiVersions, 0, nil, true); err != nil {
		return err
	}
	if login != "" {
		if _, err := kafkaRequest(conn, kafkaSaslHandshake, kafkaSaslHandshakeVersion, kafkaText("PLAIN"), true); err != nil {
			return err
		}
		if _, err := kafkaRequest(conn, kafkaSaslAuthenticate, 0, longText(nil, login), true); err != nil {
			return err
		}
	}

	noTopics := []byte{0, 0, 0, 0, 0} // an empty list, and nothing is created
	answer, err := kafkaRequest(conn, kafkaMetadata, kafkaMetadataVersion, noTopics, false)
	if err != nil {
		return err
	}

	return checkCluster(answer)
}

// kafkaRequest sends one request and returns the body of its answer. Most
// answers begin with an error code, which is checked when coded.
func kafkaRequest(conn io.ReadWriter, key, version int16, body []byte, coded bool) ([]byte, error) {
	const correlation = 1
	head := binary.BigEndian.AppendUint16(nil, uint16(key))
	head = binary.BigEndian.AppendUint16(head, uint16(version))
	head = binary.BigEndian.AppendUint32(head, correlation)
	head = append(head, kafkaText("leat-brokers")...)
	if _, err := conn.Write(longText(nil, string(append(head, body...)))); err != nil {
		return nil, err //nolint:wrapcheck // askKafka does
	}

	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err //nolint:wrapcheck // askKafka does
	}
	length := binary.BigEndian.Uint32(size[:])
	if length < 6 || length > 1<<20 {
		return nil, fmt.Errorf("answer of %d bytes: %w", length, errProtocol)
	}
	answer := make([]byte, length)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err //nolint:wrapcheck // askKafka does
	}
	if binary.BigEndian.Uint32(answer) != correlation {
		return nil, fmt.Errorf("answer to another request: %w", errProtocol)
	}
	if code := binary.BigEndian.Uint16(answer[4:]); coded && code != 0 {
		return nil, fmt.Errorf("request %d failed with code %d: %w", key, code, errProtocol)
	}

	return answer[4:], nil
}

// checkCluster reads a Metadata answer: throttle time, brokers, cluster id,
// controller.
func checkCluster(b []byte) error {
	r := kafkaReader{b: b}
	r.int32()
	count := r.int32()
	for range min(count, 1000) {
		r.int32() // node
		r.text()  // host
		r.int32() // port
		r.text()  // rack
	}
	r.text()
	controller := r.int32()

	switch {
	case r.short:
		return fmt.Errorf("metadata of %d bytes: %w", len(b), errProtocol)
	case count < 1 || controller < 0:
		return fmt.Errorf("%d brokers, controller %d: %w", count, controller, errProtocol)
	default:
		return nil
	}
}

func kafkaText(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// kafkaReader reads Kafka's simple types; short is set when the bytes end too
// early, and everything reads as zero from then on.
type kafkaReader struct {
	b     []byte
	short bool
}

func (r *kafkaReader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true

		return make([]byte, n)
	}
	taken := r.b[:n]
	r.b = r.b[n:]

	return taken
}

func (r *kafkaReader) int32() int32 { return int32(binary.BigEndian.Uint32(r.take(4))) }

// text skips a text, which may be null (length -1).
func (r *kafkaReader) text() {
	r.take(max(0, int(int16(binary.BigEndian.Uint16(r.take(2))))))
}
