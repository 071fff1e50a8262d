package redisbus_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/certs"
	"github.com/leat-go/leat/internal/leaktest"
)

const canary = "c4n4ry"

// formats shows a value in every way that a program might by accident.
func formats(t *testing.T, v any) string {
	t.Helper()
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%t"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", struct{ Config any }{v})
	}
	var buf bytes.Buffer
	slog.New(slog.NewTextHandler(&buf, nil)).Info("m", "config", v)
	slog.New(slog.NewJSONHandler(&buf, nil)).Info("m", "config", v)
	out.Write(buf.Bytes())
	if j, err := json.Marshal(v); err == nil {
		out.Write(j)
	}
	return out.String()
}

func TestClientConfig_ShowsNoSecretInAnyForm(t *testing.T) {
	for _, raw := range []string{
		"redis://" + canary + "user:" + canary + "@127.0.0.1:1/2?read_timeout=3s",
		"rediss://:" + canary + "@127.0.0.1:1",
		"redis://user:" + canary + "@127.0.0.1:1?password=" + canary,
		"redis://user:" + canary + "%zz@127.0.0.1:1", // not a URL
		"redis://user:p@" + canary + "@[::1",
		"user:" + canary + "@localhost:1", // without a scheme: to net/url it is one
		"redis:user:" + canary + "@localhost:1",
		"redis:/user:" + canary + "@localhost:1",
		"http://user:" + canary + "@127.0.0.1:1",
		"redis://user:" + canary + "@127.0.0.1:1/notadb",
		"redis://user:" + canary + "@127.0.0.1:1/0?nonsense=1",
	} {
		cfg := redisbus.ClientConfig{URL: raw}
		shown := formats(t, cfg) + formats(t, &cfg)
		if err := cfg.Validate(); err != nil {
			shown += formats(t, err)
		}
		_, err := redisbus.OpenClient(t.Context(), cfg)
		if err == nil {
			t.Fatalf("connected to nothing with %q", raw)
		}
		shown += formats(t, err)
		if strings.Contains(shown, canary) {
			at := strings.Index(shown, canary)
			t.Errorf("the secret of %q is shown: ...%s...", raw, shown[max(0, at-60):min(len(shown), at+60)])
		}
		if strings.Contains(raw, "127.0.0.1") && !strings.Contains(raw, "%zz") && !strings.Contains(shown, "127.0.0.1:1") {
			t.Errorf("the address of %q is not shown", raw)
		}
	}
}

func TestClientConfig_TellsAllMistakesAtOnce(t *testing.T) {
	err := redisbus.ClientConfig{URL: "redis://:x@example.com", ConnectTimeout: -1, SocketTimeout: -1, PoolSize: -1}.Validate()
	for _, field := range []string{"URL: would send a password", "ConnectTimeout", "SocketTimeout", "PoolSize"} {
		if err == nil || !strings.Contains(err.Error(), "redisbus: ClientConfig."+field) {
			t.Errorf("err = %v, want it to name %s", err, field)
		}
	}
	for raw, ok := range map[string]bool{
		"redis://:x@localhost": true, "redis://:x@127.0.0.1:1": true, "redis://:x@[::1]:1": true, "unix://u:x@/tmp/s": true,
		"rediss://:x@example.com": true, "redis://example.com": true, "": true, "redis://:x@10.0.0.1": false,
	} {
		if err := (redisbus.ClientConfig{URL: raw}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v, want it to be allowed: %v", raw, err, ok)
		}
	}
	if err := (redisbus.ClientConfig{URL: "redis://:x@10.0.0.1", AllowPlaintextPassword: true}).Validate(); err != nil {
		t.Errorf("with AllowPlaintextPassword: %v", err)
	}
}

func TestOpenClient_ErrorsAreTypedAndQuick(t *testing.T) {
	leaktest.Check(t)
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	admin := connect(t, server.URL())
	if err := admin.ConfigSet(t.Context(), "requirepass", canary).Err(); err != nil {
		t.Fatal(err)
	}
	client := func(name string) *tls.Config {
		cfg, err := server.Certs().Client(name)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	expired := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly, Certificate: certs.Expired})
	otherCA := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly, Certificate: certs.OtherCA})
	otherHost := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly, Certificate: certs.OtherHost})
	code := func(want string) func(error) bool {
		return func(err error) bool {
			var refused *redisbus.RefusedError
			return errors.As(err, &refused) && refused.Code == want
		}
	}
	says := func(text string) func(error) bool {
		return func(err error) bool { return strings.Contains(err.Error(), text) }
	}
	for _, c := range []struct {
		what string
		cfg  redisbus.ClientConfig
		is   func(error) bool
	}{
		{"wrong password", redisbus.ClientConfig{URL: "redis://:wrong" + canary + "@" + server.Addr()}, code("WRONGPASS")},
		{"unknown user", redisbus.ClientConfig{URL: "redis://nobody:" + canary + "@" + server.Addr()}, code("WRONGPASS")},
		{"no password", redisbus.ClientConfig{URL: "redis://" + server.Addr()}, code("NOAUTH")},
		{"unknown authority", redisbus.ClientConfig{URL: "rediss://:" + canary + "@" + server.TLSAddr()}, func(err error) bool {
			var unknown x509.UnknownAuthorityError
			return errors.As(err, &unknown)
		}},
		{"expired", redisbus.ClientConfig{URL: "rediss://" + expired.TLSAddr(), TLS: client("")}, func(err error) bool {
			var invalid x509.CertificateInvalidError
			return errors.As(err, &invalid) && invalid.Reason == x509.Expired
		}},
		{"another authority", redisbus.ClientConfig{URL: "rediss://" + otherCA.TLSAddr(), TLS: client("")}, func(err error) bool {
			var unknown x509.UnknownAuthorityError
			return errors.As(err, &unknown)
		}},
		{"another host", redisbus.ClientConfig{URL: "rediss://" + otherHost.TLSAddr(), TLS: client("")}, func(err error) bool {
			var host x509.HostnameError
			return errors.As(err, &host)
		}},
		{"TLS to a plain port", redisbus.ClientConfig{URL: "rediss://:" + canary + "@" + server.Addr(), TLS: client("")}, says("wants redis://")},
		{"plain text to a TLS port", redisbus.ClientConfig{URL: "redis://:" + canary + "@" + server.TLSAddr()}, says("wants rediss://")},
		{"nobody there", redisbus.ClientConfig{URL: "redis://127.0.0.1:1"}, func(err error) bool { return err != nil }},
		{"credentials that fail", redisbus.ClientConfig{
			URL:         "redis://" + server.Addr(),
			Credentials: func(context.Context) (string, string, error) { return "", "", errVault },
		}, func(err error) bool { return errors.Is(err, errVault) }},
	} {
		c.cfg.ConnectTimeout = 2 * time.Second
		began := time.Now()
		got, err := redisbus.OpenClient(t.Context(), c.cfg)
		if got != nil {
			_ = got.Close()
		}
		var connect *redisbus.ConnectError
		if !errors.As(err, &connect) || !c.is(err) || connect.Addr == "" {
			t.Errorf("%s: %v", c.what, err)
		}
		if err != nil && strings.Contains(formats(t, err), canary) {
			t.Errorf("%s: the password is shown", c.what)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: took %v", c.what, took)
		}
	}
}

var errVault = errors.New("vault is sealed")

// TLS, an ACL user with a password that needs escaping, and few rights: the
// whole transport works with them.
func TestOpenClient_TLSAndACLUserWorkEndToEnd(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	ca, err := server.Certs().Client("")
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, server.URL())
	if err := admin.Do(t.Context(), "acl", "setuser", "few", "on", ">s3cret", "~s", "~s_dlq", "+@stream", "+ping").Err(); err != nil {
		t.Fatal(err)
	}
	for what, user := range map[string]*url.Userinfo{
		"leat": url.UserPassword(brokers.RedisUser, brokers.RedisPassword),
		"few":  url.UserPassword("few", "s3cret"),
	} {
		u := url.URL{Scheme: "rediss", Host: server.TLSAddr(), User: user}
		client, err := redisbus.OpenClient(t.Context(), redisbus.ClientConfig{URL: u.String(), TLS: ca})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		t.Cleanup(func() { _ = client.Close() })
		admin.Del(t.Context(), "s")
		sub := newSubscriber(t, redisbus.SubscriberConfig{Client: client})
		out := subscribe(t, sub, "s")
		publish(t, newPublisher(t, redisbus.PublisherConfig{Client: client}), "s", msg(what, "k"))
		m := next(t, out)
		if m.UUID != what {
			t.Errorf("%s came, want %s", m.UUID, what)
		}
		m.Ack()
		began := time.Now()
		if _, err := sub.Drain(t.Context()); err != nil {
			t.Errorf("%s: drain: %v", what, err)
		}
		// Without the right to CLIENT UNBLOCK the reads are short instead.
		if took := time.Since(began); took > redisbus.DefaultBlockTime/2 {
			t.Errorf("%s: drain took %v", what, took)
		}
		if n := pendingOf(t, admin, "s", "g"); n != 0 {
			t.Errorf("%s: %d pending", what, n)
		}
	}
}

func TestOpenClient_CredentialsAreAskedForEachConnection(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	admin := connect(t, server.URL())
	set := func(password string) {
		if err := admin.Do(t.Context(), "acl", "setuser", "rotating", "on", "resetpass", ">"+password, "~*", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("first")
	var password atomic.Value
	password.Store("first")
	client, err := redisbus.OpenClient(t.Context(), redisbus.ClientConfig{
		URL:         "redis://" + server.Addr(),
		Credentials: func(context.Context) (string, string, error) { return "rotating", password.Load().(string), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	out := subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client}), "s")
	pub := newPublisher(t, redisbus.PublisherConfig{Client: client})
	publish(t, pub, "s", msg("1", ""))
	next(t, out).Ack()

	set("second")
	password.Store("second")
	if err := admin.Do(t.Context(), "client", "kill", "user", "rotating").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "publishing works with the new password", func() bool { return pub.Publish("s", msg("2", "")) == nil })
	next(t, out).Ack()
}
