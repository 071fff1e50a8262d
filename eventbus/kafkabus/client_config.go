package kafkabus

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

const (
	// DefaultBootstrapServers is the cluster of a configuration that names none.
	DefaultBootstrapServers = "localhost:9092"

	// DefaultConnectTimeout bounds TCP, TLS and log-in together. Shorter fails
	// while a busy broker still answers; longer makes a dead one noticed late.
	DefaultConnectTimeout = 10 * time.Second

	// DefaultBatchBytes is the largest message that brokers take by default
	// (message.max.bytes).
	DefaultBatchBytes = 1_048_588

	// DefaultLinger is how long small calls of a crowd of publishers wait for
	// those who were just answered to come again. A lone Publish does not wait.
	DefaultLinger = 5 * time.Millisecond

	// DefaultDeliveryTimeout is long enough for a broker to be restarted, and
	// short enough that a caller without a deadline learns of an outage.
	DefaultDeliveryTimeout = 30 * time.Second

	// DefaultMaxBufferedRecords bounds what waits to be sent; it is the client's
	// own default.
	DefaultMaxBufferedRecords = 10_000
)

// SecurityProtocol is how the brokers are spoken to. Empty means [Plaintext],
// or what the other fields ask for: TLS when one of the TLS fields is set, SASL
// when a mechanism is.
type SecurityProtocol string

// The protocols, as Kafka names them.
const (
	Plaintext     SecurityProtocol = "PLAINTEXT"
	SSL           SecurityProtocol = "SSL"
	SASLPlaintext SecurityProtocol = "SASL_PLAINTEXT"
	SASLSSL       SecurityProtocol = "SASL_SSL"
)

func (p SecurityProtocol) tls() bool  { return p == SSL || p == SASLSSL }
func (p SecurityProtocol) sasl() bool { return p == SASLPlaintext || p == SASLSSL }

// SASLMechanism is how user and password are proved. Empty means
// [SCRAMSHA512], which never sends the password.
type SASLMechanism string

// The mechanisms that are built in. Others, OAUTHBEARER for one, come by
// ClientConfig.SASL.
const (
	PLAIN       SASLMechanism = "PLAIN"
	SCRAMSHA256 SASLMechanism = "SCRAM-SHA-256"
	SCRAMSHA512 SASLMechanism = "SCRAM-SHA-512"
)

// Acks is how many replicas must have a record before it counts as confirmed.
type Acks int

const (
	// AcksAll waits for all replicas in sync, and writes idempotently: what the
	// client sends again is not doubled. It is what law 1 stands on.
	AcksAll Acks = iota
	// AcksLeader waits for the leader alone: a confirmed event is lost when the
	// leader dies before its replicas have it. Not idempotent.
	AcksLeader
	// AcksNone waits for nothing: "confirmed" means written to a socket.
	AcksNone
)

// Compression of the batches.
type Compression int

// The compressions. The zero value is the reference's default.
const (
	// Gzip is used at its fastest level: a twentieth larger, for half the
	// processor time. For another one set ClientConfig.Options to
	// kgo.ProducerBatchCompression(kgo.GzipCompression().WithLevel(9)).
	Gzip Compression = iota
	Uncompressed
	Snappy
	LZ4
	Zstd
)

// ClientConfig configures [OpenClient]. Every formatted form of it, whatever
// the verb or the logger, shows no user, no password and no key.
type ClientConfig struct {
	// BootstrapServers are host:port, separated by commas. Empty means
	// [DefaultBootstrapServers].
	BootstrapServers string
	// ClientID names the program in the brokers' logs and quotas. Empty means
	// "leat".
	ClientID string

	// SecurityProtocol may be left empty; see its type.
	SecurityProtocol SecurityProtocol
	// SASLMechanism, SASLUsername and SASLPassword log in.
	SASLMechanism SASLMechanism
	SASLUsername  string
	SASLPassword  string
	// SASL is used instead of the three: any mechanism of franz-go, such as
	// oauth.Oauth(...), with credentials that may change while the program runs.
	SASL sasl.Mechanism
	// CAFile holds the certificates (PEM) that sign the brokers'; empty means the
	// system's. CertFile and KeyFile are the client's own, for mTLS.
	CAFile, CertFile, KeyFile string
	// SkipHostnameCheck accepts a broker's certificate for any host name, as long
	// as the CA signed it.
	SkipHostnameCheck bool
	// TLS is used instead of the files.
	TLS *tls.Config
	// AllowPlaintextPassword permits a password on a connection without TLS to a
	// host that is not this machine. Without it that is an error.
	AllowPlaintextPassword bool

	// ConnectTimeout bounds the making of a connection. 0 means
	// [DefaultConnectTimeout].
	ConnectTimeout time.Duration

	// Acks, Compression, BatchBytes and Linger are for publishing. BatchBytes
	// bounds a batch, and with it a record: a larger one is refused before it is
	// sent. 0 means [DefaultBatchBytes]. Linger 0 means [DefaultLinger]. It delays
	// a Publish of few events only while many others are under way, which it then
	// shares requests with; any other is sent when its last record is buffered.
	Acks        Acks
	Compression Compression
	BatchBytes  int
	Linger      time.Duration
	// DeliveryTimeout bounds how long the client tries to deliver a record, and
	// so a Publish without a deadline. 0 means [DefaultDeliveryTimeout].
	DeliveryTimeout time.Duration
	// MaxBufferedRecords bounds what waits to be sent; at the bound Publish
	// waits. 0 means [DefaultMaxBufferedRecords].
	MaxBufferedRecords int

	// Options are passed to the client last, so that they win. They are not
	// portable, and not checked: those that name a group, topics to consume or a
	// transaction break this package.
	Options []kgo.Opt
}

// Validate reports every problem of the configuration at once, or nil. It reads
// the files.
func (c ClientConfig) Validate() error {
	_, err := c.options()
	return err
}

func (c ClientConfig) check() (errs []error) {
	bad := func(field, problem string) {
		errs = append(errs, fmt.Errorf("kafkabus: ClientConfig.%s: %s", field, problem))
	}
	for _, addr := range c.servers() {
		if strings.Contains(addr, "@") {
			bad("BootstrapServers", "is host:port alone (its text is not shown: it may hold a password); SASLUsername and SASLPassword log in")
		} else if _, _, err := net.SplitHostPort(addr); err != nil {
			bad("BootstrapServers", fmt.Sprintf("%q is not host:port", addr))
		}
	}
	switch c.SecurityProtocol {
	case "", Plaintext, SSL, SASLPlaintext, SASLSSL:
	default:
		bad("SecurityProtocol", fmt.Sprintf("%q is unknown; use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", c.SecurityProtocol))
	}
	switch c.SASLMechanism {
	case "", PLAIN, SCRAMSHA256, SCRAMSHA512:
	default:
		bad("SASLMechanism", fmt.Sprintf("%q is unknown; other mechanisms are set with SASL", c.SASLMechanism))
	}
	proto := c.protocol()
	hasSASL := c.SASL != nil || c.SASLMechanism != "" || c.SASLUsername != "" || c.SASLPassword != ""
	if proto.sasl() && c.SASL == nil && (c.SASLUsername == "" || c.SASLPassword == "") {
		bad("SASLUsername", "user and password are required with "+string(proto))
	}
	if hasSASL && !proto.sasl() {
		bad("SecurityProtocol", fmt.Sprintf("%s does not log in, but SASL fields are set", proto))
	}
	if c.SASL != nil && (c.SASLMechanism != "" || c.SASLUsername != "" || c.SASLPassword != "") {
		bad("SASL", "cannot be set together with SASLMechanism, SASLUsername or SASLPassword")
	}
	if c.hasTLS() && !proto.tls() {
		bad("SecurityProtocol", fmt.Sprintf("%s does not encrypt, but TLS fields are set", proto))
	}
	if c.TLS != nil && (c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" || c.SkipHostnameCheck) {
		bad("TLS", "cannot be set together with CAFile, CertFile, KeyFile or SkipHostnameCheck")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("CertFile", "certificate and key belong together")
	}
	if proto == SASLPlaintext && !c.AllowPlaintextPassword && !c.loopback() {
		bad("SecurityProtocol", "would send a password without TLS to another machine; use SASL_SSL, or set AllowPlaintextPassword")
	}
	if c.Acks < AcksAll || c.Acks > AcksNone {
		bad("Acks", fmt.Sprintf("%d is unknown", c.Acks))
	}
	if c.Compression < Gzip || c.Compression > Zstd {
		bad("Compression", fmt.Sprintf("%d is unknown", c.Compression))
	}
	for _, n := range []struct {
		field string
		value int64
	}{
		{"ConnectTimeout", int64(c.ConnectTimeout)},
		{"BatchBytes", int64(c.BatchBytes)},
		{"Linger", int64(c.Linger)},
		{"DeliveryTimeout", int64(c.DeliveryTimeout)},
		{"MaxBufferedRecords", int64(c.MaxBufferedRecords)},
	} {
		if n.value < 0 {
			bad(n.field, "must not be negative")
		}
	}
	if c.BatchBytes > 0 && (c.BatchBytes < 1024 || c.BatchBytes > 1<<30) {
		bad("BatchBytes", "must be between 1 KiB and 1 GiB")
	}
	if c.DeliveryTimeout > 0 && c.DeliveryTimeout < time.Second {
		bad("DeliveryTimeout", "must be at least a second; give Publish a context with a shorter deadline")
	}
	return errs
}

func (c ClientConfig) hasTLS() bool {
	return c.TLS != nil || c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" || c.SkipHostnameCheck
}

func (c ClientConfig) protocol() SecurityProtocol {
	if c.SecurityProtocol != "" {
		return c.SecurityProtocol
	}
	login := c.SASL != nil || c.SASLMechanism != "" || c.SASLUsername != "" || c.SASLPassword != ""
	switch {
	case login && c.hasTLS():
		return SASLSSL
	case login:
		return SASLPlaintext
	case c.hasTLS():
		return SSL
	}
	return Plaintext
}

// shownServers leaves out what stands before an @: nothing belongs there, and
// people put passwords there.
func (c ClientConfig) shownServers() string {
	shown := c.servers()
	for i, addr := range shown {
		shown[i] = addr[strings.LastIndexByte(addr, '@')+1:]
	}
	return strings.Join(shown, ",")
}

func (c ClientConfig) servers() []string {
	var list []string
	for addr := range strings.SplitSeq(cmp.Or(c.BootstrapServers, DefaultBootstrapServers), ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			list = append(list, addr)
		}
	}
	return list
}

func (c ClientConfig) loopback() bool {
	for _, addr := range c.servers() {
		host, _, _ := net.SplitHostPort(addr)
		if !transport.Loopback(host) {
			return false
		}
	}
	return true
}

// String shows the configuration without secrets.
func (c ClientConfig) String() string {
	return fmt.Sprintf("{BootstrapServers:%s SecurityProtocol:%s SASL:%t TLS:%t AllowPlaintextPassword:%t ConnectTimeout:%v Acks:%d Compression:%d BatchBytes:%d Linger:%v DeliveryTimeout:%v Options:%d}",
		c.shownServers(), c.protocol(), c.protocol().sasl(), c.protocol().tls(), c.AllowPlaintextPassword, c.ConnectTimeout,
		c.Acks, c.Compression, c.BatchBytes, c.Linger, c.DeliveryTimeout, len(c.Options))
}

// Format shows the same for every verb: %d and %x would look past String.
func (c ClientConfig) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// GoString shows the same for %#v.
func (c ClientConfig) GoString() string { return "kafkabus.ClientConfig" + c.String() }

// LogValue shows the same in logs.
func (c ClientConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON shows the same in JSON.
func (c ClientConfig) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

var errNoCertificate = errors.New("has no certificate in PEM form")
