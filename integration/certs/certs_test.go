package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/leat-go/leat/integration/certs"
)

func ensure(t *testing.T) *certs.Set {
	t.Helper()
	set, err := certs.Ensure(filepath.Join(t.TempDir(), "certs"))
	if err != nil {
		t.Fatal(err)
	}

	return set
}

// handshake connects a client that trusts the set's authority to a server on
// 127.0.0.1 and returns what the two sides say.
func handshake(t *testing.T, server, client *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err

			return
		}
		defer conn.Close()
		secured := tls.Server(conn, server)
		if err := secured.Handshake(); err != nil {
			done <- err

			return
		}
		_, err = secured.Write([]byte("x"))
		done <- err
	}()

	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err == nil {
		// In TLS 1.3 a client hears of its certificate's refusal only here.
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}

	return err, <-done
}

func TestSet_ServerCertificates(t *testing.T) {
	t.Parallel()
	set := ensure(t)
	client, err := set.Client("")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		ok   func(error) bool
	}{
		{certs.Server, func(err error) bool { return err == nil }},
		{certs.Expired, func(err error) bool {
			var invalid x509.CertificateInvalidError
			return errors.As(err, &invalid) && invalid.Reason == x509.Expired
		}},
		{certs.OtherCA, func(err error) bool {
			var unknown x509.UnknownAuthorityError
			return errors.As(err, &unknown)
		}},
		{certs.OtherHost, func(err error) bool {
			var host x509.HostnameError
			return errors.As(err, &host)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, err := set.ServerConfig(test.name)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := handshake(t, server, client); !test.ok(got) {
				t.Errorf("the client says %v", got)
			}
		})
	}
}

func TestSet_ClientCertificates(t *testing.T) {
	t.Parallel()
	set := ensure(t)
	server, err := set.ServerConfig(certs.Server)
	if err != nil {
		t.Fatal(err)
	}
	server.ClientAuth = tls.RequireAndVerifyClientCert

	for name, accepted := range map[string]bool{certs.Client: true, certs.Expired: false, certs.OtherCA: false, "": false} {
		t.Run("client "+name, func(t *testing.T) {
			t.Parallel()
			client, err := set.Client(name)
			if err != nil {
				t.Fatal(err)
			}
			clientErr, serverErr := handshake(t, server, client)
			if (clientErr == nil) != accepted || (serverErr == nil) != accepted {
				t.Errorf("client: %v, server: %v; accepted should be %v", clientErr, serverErr, accepted)
			}
		})
	}
}

func TestEnsure_KeepsAGoodSet(t *testing.T) {
	t.Parallel()
	set := ensure(t)
	before := read(t, set.CAFile())
	if _, err := certs.Ensure(set.Dir()); err != nil {
		t.Fatal(err)
	}
	if read(t, set.CAFile()) != before {
		t.Error("a good set was made anew")
	}
}

func TestEnsure_MendsADamagedSet(t *testing.T) {
	t.Parallel()
	damages := map[string]func(*certs.Set) error{
		"no authority":         func(s *certs.Set) error { return os.Remove(s.CAFile()) },
		"empty authority":      func(s *certs.Set) error { return os.Truncate(s.CAFile(), 0) },
		"no other authority":   func(s *certs.Set) error { return os.Remove(s.OtherCAFile()) },
		"no key":               func(s *certs.Set) error { return os.Remove(s.KeyFile(certs.Expired)) },
		"no key store":         func(s *certs.Set) error { return os.Remove(s.KeystoreFile(certs.Server)) },
		"key of another":       func(s *certs.Set) error { return os.Rename(s.KeyFile(certs.Client), s.KeyFile(certs.Server)) },
		"server of another CA": func(s *certs.Set) error { return swap(s, certs.OtherCA, certs.Server) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := ensure(t)
			if err := damage(set); err != nil {
				t.Fatal(err)
			}
			if _, err := certs.Open(set.Dir()); err == nil {
				t.Error("Open took the damaged set")
			}
			if _, err := certs.Ensure(set.Dir()); err != nil {
				t.Fatal(err)
			}
			if _, err := certs.Open(set.Dir()); err != nil {
				t.Errorf("after Ensure: %v", err)
			}
		})
	}
}

func swap(s *certs.Set, from, to string) error {
	return errors.Join(os.Rename(s.CertFile(from), s.CertFile(to)), os.Rename(s.KeyFile(from), s.KeyFile(to)))
}

func TestKeystore_HoldsKeyAndChain(t *testing.T) {
	t.Parallel()
	set := ensure(t)
	for _, name := range certs.Names() {
		text := []byte(read(t, set.KeystoreFile(name)))
		pair, err := tls.X509KeyPair(text, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)

			continue
		}
		if len(pair.Certificate) != 2 {
			t.Errorf("%s: %d certificates in the chain, want 2", name, len(pair.Certificate))
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}
