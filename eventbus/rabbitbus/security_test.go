package rabbitbus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/certs"
)

// front is a TLS listener with a certificate of the test's choice, in front of
// the real broker's plain port.
func front(t *testing.T, set *certs.Set, certificate, broker string) string {
	t.Helper()
	cfg, err := set.ServerConfig(certificate)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(from, broker)
		}
	}()
	return listener.Addr().String()
}

func relay(from net.Conn, broker string) {
	defer from.Close()
	to, err := net.Dial("tcp", broker)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, from) }()
	_, _ = io.Copy(from, to)
}

func trusting(t *testing.T, set *certs.Set, certificate string) *tls.Config {
	t.Helper()
	cfg, err := set.Client(certificate)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Each refusal is typed, tells its cause, holds no secret and comes within
// seconds; none of them falls back to anything weaker.
func testRefusals(t *testing.T, broker *brokers.Instance) {
	t.Helper()
	set := broker.Certs()
	const secret = "canary-Secret"
	user := "leat:" + secret + "@"
	var (
		host    = func(err error) bool { return errors.As(err, new(x509.HostnameError)) }
		unknown = func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }
		expired = func(err error) bool {
			var invalid x509.CertificateInvalidError
			return errors.As(err, &invalid) && invalid.Reason == x509.Expired
		}
		record = func(err error) bool { return errors.As(err, new(tls.RecordHeaderError)) }
		code   = func(want int) func(error) bool {
			return func(err error) bool {
				var refused *rabbitbus.RefusedError
				return errors.As(err, &refused) && refused.Code == want
			}
		}
	)
	elsewhere, err := url.Parse(broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	named := trusting(t, set, "")
	named.ServerName = "other.example"
	late := trusting(t, set, "")
	late.Time = func() time.Time { return time.Now().AddDate(100, 0, 0) }
	strangers := x509.NewCertPool()
	other, err := os.ReadFile(set.OtherCAFile())
	if err != nil || !strangers.AppendCertsFromPEM(other) {
		t.Fatalf("the other authority: %v", err)
	}
	for _, c := range []struct {
		what string
		url  string
		tls  *tls.Config
		is   func(error) bool
		text string
	}{
		{"wrong host name asked for", "amqps://" + user + broker.TLSAddr(), named, host, "other.example"},
		{"wrong host name in the URL", "amqps://" + user + broker.TLSAddr() + "?server_name_indication=other.example", trusting(t, set, ""), host, "other.example"},
		{"certificate of another host", "amqps://" + user + front(t, set, certs.OtherHost, elsewhere.Host), trusting(t, set, ""), host, "127.0.0.1"},
		{"certificate that has expired since", "amqps://" + user + broker.TLSAddr(), late, expired, "expired"},
		{"certificate that is expired", "amqps://" + user + front(t, set, certs.Expired, elsewhere.Host), trusting(t, set, ""), expired, "expired"},
		{"certificate of another authority", "amqps://" + user + front(t, set, certs.OtherCA, elsewhere.Host), trusting(t, set, ""), unknown, "unknown authority"},
		{"another authority trusted", "amqps://" + user + broker.TLSAddr(), &tls.Config{RootCAs: strangers, MinVersion: tls.VersionTLS12}, unknown, "unknown authority"},
		{"nothing trusted", "amqps://" + user + broker.TLSAddr(), nil, unknown, "unknown authority"},
		{"certificate file that is missing", "amqps://" + user + broker.TLSAddr() + "?cacertfile=/none/such", nil, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }, "/none/such"},
		{"TLS to the plain port", "amqps://" + user + elsewhere.Host, trusting(t, set, ""), record, "use amqp://"},
		{"plain to the TLS port", "amqp://" + user + broker.TLSAddr(), nil, func(error) bool { return true }, "amqps://"},
		{"wrong password", "amqp://" + user + elsewhere.Host, nil, code(403), "403"},
		{"wrong password over TLS", "amqps://" + user + broker.TLSAddr(), trusting(t, set, ""), code(403), "403"},
		{"unknown user", "amqp://nobody:" + secret + "@" + elsewhere.Host, nil, code(403), "403"},
		{"virtual host that is missing", strings.TrimSuffix(broker.URL(), "/") + "/nowhere", nil, code(530), "nowhere"},
		{"EXTERNAL without a certificate", "amqps://" + broker.TLSAddr() + "?auth_mechanism=external", trusting(t, set, ""), code(403), "403"},
		{"EXTERNAL as somebody unknown", "amqps://" + broker.TLSAddr() + "?auth_mechanism=external", trusting(t, set, certs.Server), code(403), "403"},
		{"EXTERNAL with an expired certificate", "amqps://" + broker.TLSAddr() + "?auth_mechanism=external", trusting(t, set, certs.Expired), func(error) bool { return true }, "our certificate has expired"},
		{"EXTERNAL with a certificate of another authority", "amqps://" + broker.TLSAddr() + "?auth_mechanism=external", trusting(t, set, certs.OtherCA), code(403), "403"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel() // the broker takes its time to refuse a password
			began := time.Now()
			client, err := rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{URL: c.url, TLS: c.tls, ConnectTimeout: 20 * time.Second})
			if err == nil {
				_ = client.Close()
				t.Fatal("it connected")
			}
			var failed *rabbitbus.ConnectError
			if !errors.As(err, &failed) || !c.is(err) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v (%T), want a ConnectError with its cause", err, errors.Unwrap(failed))
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), brokers.RabbitPassword) {
				t.Errorf("the error shows a secret: %v", err)
			}
			if took := time.Since(began); took > 10*time.Second || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it took %v: %v", took, err)
			}
			t.Log(err)
		})
	}
}

// A certificate is all that is needed to log in, by the configuration or by the
// URL, and serves a whole bus.
func testExternal(t *testing.T, broker *brokers.Instance) {
	t.Helper()
	set := broker.Certs()
	files := url.Values{"cacertfile": {set.CAFile()}, "certfile": {set.CertFile(certs.Client)}, "keyfile": {set.KeyFile(certs.Client)}, "auth_mechanism": {"external"}}
	for what, cfg := range map[string]rabbitbus.Config{
		"by the configuration": {URL: "amqps://" + broker.TLSAddr() + "/?auth_mechanism=external", TLS: trusting(t, set, certs.Client)},
		"by the URL":           {URL: "amqps://" + broker.TLSAddr() + "/?" + files.Encode()},
	} {
		t.Run(what, func(t *testing.T) {
			cfg.ExchangeName = name(t, broker.URL(), "external")
			bus, recorder := open(t, cfg)
			if err := bus.Publish(t.Context(), events()...); err != nil {
				t.Fatal(err)
			}
			recorder.Wait(t, 3)
			users, err := broker.Rabbitmqctl(t.Context(), "list_connections", "user", "auth_mechanism", "ssl", "peer_cert_subject", "client_properties")
			machine, _ := os.Hostname() // empty when it has no name
			for _, purpose := range []string{"publisher", "consumer"} {
				who := brokers.RabbitClientUser + "\tEXTERNAL\ttrue\tCN=" + brokers.RabbitClientUser
				name := fmt.Sprintf("%s %s.g %s@%s:%d", filepath.Base(os.Args[0]), cfg.ExchangeName, purpose, machine, os.Getpid())
				found := 0
				for line := range strings.Lines(users) {
					if strings.HasPrefix(line, who) && strings.Contains(line, `"`+name+`"`) {
						found++
					}
				}
				if err != nil || found != 1 {
					t.Errorf("%d connections %s of %q, want one (%v):\n%s", found, name, who, err, users)
				}
			}
		})
	}
	// By the name in the URL instead of the address.
	byName, err := rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{
		URL: broker.Value(brokers.EnvRabbitTLSURL) + "?server_name_indication=localhost&cacertfile=" + url.QueryEscape(set.CAFile()),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := byName.Close(); err != nil {
		t.Error(err)
	}
	// A certificate beside a password: mutual TLS with PLAIN.
	client, err := rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{
		URL: broker.Value(brokers.EnvRabbitTLSURL), TLS: trusting(t, set, certs.Client),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}
