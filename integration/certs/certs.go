package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The certificates of a [Set]. Each may be used on either side of a
// connection: all carry both extended key usages, so that a test can put the
// expired one into a server as well as into a client.
const (
	// Server is valid for localhost, 127.0.0.1 and ::1.
	Server = "server"
	// Client is valid, for the client side of mutual TLS. Its common name is
	// leat-client.
	Client = "client"
	// Expired ran out a day before the set was made.
	Expired = "expired"
	// OtherCA is valid in itself but signed by other-ca.pem.
	OtherCA = "other-ca-server"
	// OtherHost is valid for the name other.invalid only.
	OtherHost = "other-host"
)

// Names lists the certificates of a set, in the order they are made.
func Names() []string { return []string{Server, Client, Expired, OtherCA, OtherHost} }

const (
	caName      = "ca"
	otherCAName = "other-ca"
	// lifetime is long enough that nobody meets an expiry in a checkout that
	// is used every day, and short enough that [Ensure] is exercised.
	lifetime = 2 * 365 * 24 * time.Hour
	// margin is what must be left of the lifetime for a set to be kept.
	margin = 30 * 24 * time.Hour
)

// Set is a folder of certificates. It is immutable and may be used from many
// goroutines.
type Set struct{ dir string }

// Dir returns the absolute folder of the set.
func (s *Set) Dir() string { return s.dir }

// CAFile returns the PEM file of the authority that signed everything but
// [OtherCA].
func (s *Set) CAFile() string { return s.file(caName + ".pem") }

// OtherCAFile returns the PEM file of the authority that signed [OtherCA].
func (s *Set) OtherCAFile() string { return s.file(otherCAName + ".pem") }

// CertFile returns the PEM file of the named certificate and its chain.
func (s *Set) CertFile(name string) string { return s.file(name + ".pem") }

// KeyFile returns the PEM file (PKCS#8) of the named certificate's key.
func (s *Set) KeyFile(name string) string { return s.file(name + "-key.pem") }

// KeystoreFile returns the file that holds key and chain together.
func (s *Set) KeystoreFile(name string) string { return s.file(name + "-keystore.pem") }

// Client returns a configuration that trusts the set's authority and, when
// name is not empty, presents that certificate. The server name is left for
// the dialer to fill in. The caller owns the result.
func (s *Set) Client(name string) (*tls.Config, error) {
	pool, err := readPool(s.CAFile())
	if err != nil {
		return nil, err
	}

	cfg := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if name == "" {
		return cfg, nil
	}

	pair, err := s.pair(name)
	if err != nil {
		return nil, err
	}
	cfg.Certificates = []tls.Certificate{pair}

	return cfg, nil
}

// ServerConfig returns a configuration for a server of a test's own that
// presents the named certificate and checks a client's when there is one.
func (s *Set) ServerConfig(name string) (*tls.Config, error) {
	pool, err := readPool(s.CAFile())
	if err != nil {
		return nil, err
	}

	pair, err := s.pair(name)
	if err != nil {
		return nil, err
	}

	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientCAs:    pool,
		ClientAuth:   tls.VerifyClientCertIfGiven,
		MinVersion:   tls.VersionTLS12,
	}, nil
}

func (s *Set) file(name string) string { return filepath.Join(s.dir, name) }

func (s *Set) pair(name string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(s.CertFile(name), s.KeyFile(name))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: load %q: %w", name, err)
	}

	return pair, nil
}

// Open returns the set in a folder that [Ensure] filled.
func Open(dir string) (*Set, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("certs: open %q: %w", dir, err)
	}

	s := &Set{dir: abs}
	if err := s.check(time.Now()); err != nil {
		return nil, err
	}

	return s, nil
}

// Ensure returns the set in dir, making it first when it is missing,
// incomplete, or has less than thirty days left. It is not safe to call for
// one folder from two processes at once; the brokers command holds its lock
// meanwhile.
func Ensure(dir string) (*Set, error) {
	if s, err := Open(dir); err == nil {
		return s, nil
	}

	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("certs: make %q: %w", dir, err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, fmt.Errorf("certs: make %q: %w", dir, err)
	}

	s := &Set{dir: abs}
	if err := s.generate(time.Now()); err != nil {
		return nil, err
	}

	return s, nil
}

// check reports why the set cannot be used at the given time.
func (s *Set) check(now time.Time) error {
	pool, err := readPool(s.CAFile())
	if err != nil {
		return err
	}

	for _, name := range Names() {
		pair, err := s.pair(name)
		if err != nil {
			return err
		}
		if _, err := os.Stat(s.KeystoreFile(name)); err != nil {
			return fmt.Errorf("certs: load %q: %w", name, err)
		}
		if name != Server && name != Client {
			continue
		}

		opts := x509.VerifyOptions{Roots: pool, CurrentTime: now.Add(margin), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if _, err := pair.Leaf.Verify(opts); err != nil {
			return fmt.Errorf("certs: check %q: %w", name, err)
		}
	}

	if _, err := readPool(s.OtherCAFile()); err != nil {
		return err
	}

	return nil
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certs: read authority: %w", err)
	}

	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certs: read authority %q: %w", file, errNoCertificate)
	}

	return pool, nil
}

var errNoCertificate = errors.New("no certificate in the file")
