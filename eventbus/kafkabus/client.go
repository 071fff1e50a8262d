package kafkabus

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// OpenClient connects to the cluster and returns the client, which is yours to
// close. An error is a [*ConnectError] or, joined, every problem of the
// configuration. It waits as long as ctx and ConnectTimeout allow.
//
// Any other *kgo.Client without a consumer group and without a transaction
// serves this package as well; its options are then the caller's affair.
func OpenClient(ctx context.Context, cfg ClientConfig) (*kgo.Client, error) {
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	seen := &dials{}
	client, err := kgo.NewClient(append(opts, kgo.WithHooks(seen, outcomes{}))...)
	if err != nil {
		return nil, fmt.Errorf("kafkabus: open client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(cfg.ConnectTimeout, DefaultConnectTimeout))
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		if ctx.Err() != nil {
			if last := seen.last(); last != nil { // tells more than that time is up
				err = fmt.Errorf("%w: %w", cause(ctx, err), last)
			}
		}
		return nil, &ConnectError{Addr: strings.Join(cfg.servers(), ","), Err: refused(err)}
	}
	return client, nil
}

// dials remembers why the last connection was not made.
type dials struct{ err atomic.Pointer[error] }

var _ kgo.HookBrokerConnect = (*dials)(nil)

// OnBrokerConnect is called by the client.
func (d *dials) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		d.err.Store(&err)
	}
}

func (d *dials) last() error {
	if err := d.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (c ClientConfig) options() ([]kgo.Opt, error) {
	errs := c.check()
	security, err := c.security()
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.servers()...),
		kgo.ClientID(cmp.Or(c.ClientID, "leat")),
		kgo.DialTimeout(cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)),
		kgo.MetadataMinAge(250 * time.Millisecond), // what moved is found soon
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchMaxBytes(int32(cmp.Or(c.BatchBytes, DefaultBatchBytes))),
		kgo.ProducerLinger(cmp.Or(c.Linger, DefaultLinger)),
		kgo.RecordDeliveryTimeout(cmp.Or(c.DeliveryTimeout, DefaultDeliveryTimeout)),
		kgo.MaxBufferedRecords(cmp.Or(c.MaxBufferedRecords, DefaultMaxBufferedRecords)),
		kgo.ProducerBatchCompression(c.Compression.codec()),
		kgo.DisableClientMetrics(),
	}
	switch c.Acks {
	case AcksAll:
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case AcksLeader:
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case AcksNone:
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	}
	opts = append(opts, security...)
	return append(opts, c.Options...), nil
}

func (c Compression) codec() kgo.CompressionCodec {
	switch c {
	case Uncompressed:
		return kgo.NoCompression()
	case Snappy:
		return kgo.SnappyCompression()
	case LZ4:
		return kgo.Lz4Compression()
	case Zstd:
		return kgo.ZstdCompression()
	case Gzip:
	}
	return kgo.GzipCompression().WithLevel(gzip.BestSpeed)
}

func (c ClientConfig) security() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	proto := c.protocol()
	if proto.tls() {
		cfg, err := c.tlsConfig()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(cfg))
	}
	if proto.sasl() {
		opts = append(opts, kgo.SASL(c.mechanism()))
	}
	return opts, nil
}

func (c ClientConfig) mechanism() sasl.Mechanism {
	if c.SASL != nil {
		return c.SASL
	}
	switch c.SASLMechanism {
	case PLAIN:
		return plain.Auth{User: c.SASLUsername, Pass: c.SASLPassword}.AsMechanism()
	case SCRAMSHA256:
		return scram.Auth{User: c.SASLUsername, Pass: c.SASLPassword}.AsSha256Mechanism()
	default:
		return scram.Auth{User: c.SASLUsername, Pass: c.SASLPassword}.AsSha512Mechanism()
	}
}

func (c ClientConfig) tlsConfig() (*tls.Config, error) {
	if c.TLS != nil {
		return c.TLS.Clone(), nil
	}
	var errs []error
	bad := func(field string, err error) {
		errs = append(errs, fmt.Errorf("kafkabus: ClientConfig.%s: %w", field, err))
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		cfg.RootCAs = x509.NewCertPool()
		if err != nil {
			bad("CAFile", err)
		} else if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			bad("CAFile", errNoCertificate)
		}
	}
	if c.CertFile != "" && c.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			bad("CertFile", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if c.SkipHostnameCheck {
		verifyChainOnly(cfg)
	}
	return cfg, errors.Join(errs...)
}

// verifyChainOnly checks that the CA signed the certificate, and not for which
// host: the standard library can only do both or neither.
func verifyChainOnly(cfg *tls.Config) {
	roots := cfg.RootCAs
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("kafkabus: the broker showed no certificate")
		}
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}

// unusable tells why a given client cannot serve this package; empty if it can.
func unusable(client *kgo.Client) string {
	if group, _ := client.OptValue(kgo.ConsumerGroup).(string); group != "" {
		return "must not be in a consumer group; each subscription makes its own"
	}
	if id, _ := client.OptValue(kgo.TransactionalID).(string); id != "" {
		return "must not be transactional"
	}
	return ""
}
