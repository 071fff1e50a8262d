package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

// leaf says what one certificate is to look like.
type leaf struct {
	name     string
	common   string
	dns      []string
	ips      []net.IP
	from, to time.Time
	signer   *authority
}

// generate writes all files of the set. The authority is written last, so a
// set that a crash cut short does not pass [Set.check].
func (s *Set) generate(now time.Time) error {
	from := now.Add(-2 * time.Hour) // tolerates a clock that was set back a little
	to := now.Add(lifetime)

	ca, err := newAuthority("leat test CA", from.AddDate(0, -2, 0), to)
	if err != nil {
		return err
	}
	other, err := newAuthority("leat other CA", from.AddDate(0, -2, 0), to)
	if err != nil {
		return err
	}

	local := []string{"localhost"}
	loopback := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leaves := []leaf{
		{Server, "leat-server", local, loopback, from, to, ca},
		{Client, "leat-client", nil, nil, from, to, ca},
		{Expired, "leat-expired", local, loopback, now.AddDate(0, -1, 0), now.AddDate(0, 0, -1), ca},
		{OtherCA, "leat-other-ca", local, loopback, from, to, other},
		{OtherHost, "leat-other-host", []string{"other.invalid"}, nil, from, to, ca},
	}
	for i, l := range leaves {
		if err := s.issue(l, int64(i+2)); err != nil {
			return err
		}
	}

	if err := write(s.OtherCAFile(), other.pem); err != nil {
		return err
	}

	return write(s.CAFile(), ca.pem)
}

func newAuthority(name string, from, to time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: make key of %q: %w", name, err)
	}

	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(from.UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             from,
		NotAfter:              to,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("certs: sign %q: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certs: parse %q: %w", name, err)
	}

	return &authority{cert: cert, pem: encode("CERTIFICATE", der), key: key}, nil
}

// issue signs one certificate and writes its three files.
func (s *Set) issue(l leaf, serial int64) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("certs: make key of %q: %w", l.name, err)
	}

	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: l.common},
		NotBefore:    l.from,
		NotAfter:     l.to,
		DNSNames:     l.dns,
		IPAddresses:  l.ips,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, l.signer.cert, &key.PublicKey, l.signer.key)
	if err != nil {
		return fmt.Errorf("certs: sign %q: %w", l.name, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("certs: encode key of %q: %w", l.name, err)
	}

	chain := append(encode("CERTIFICATE", der), l.signer.pem...)
	private := encode("PRIVATE KEY", pkcs8)
	if err := write(s.CertFile(l.name), chain); err != nil {
		return err
	}
	if err := write(s.KeyFile(l.name), private); err != nil {
		return err
	}

	return write(s.KeystoreFile(l.name), append(private, chain...))
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// write makes the file readable for everybody: containers run their broker
// under another user id. The folder above (.brokers, 0700) keeps others out.
func write(file string, data []byte) error {
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("certs: write: %w", err)
	}

	return nil
}
