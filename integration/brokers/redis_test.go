package brokers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/certs"
)

func contextBackground() context.Context { return context.Background() }

// needRedis skips a test that starts servers without StartRedis.
func needRedis(t *testing.T) {
	t.Helper()
	brokers.StartRedis(t, brokers.RedisOptions{})
}

// redisDo sends one command and returns the reply as it came, without the
// last line end; an error is part of the text.
func redisDo(addr string, words ...string) string {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()

	return redisAsk(conn, words...)
}

func redisAsk(conn net.Conn, words ...string) string {
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	fmt.Fprintf(conn, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(word), word)
	}
	reply := make([]byte, 4096)
	n, err := conn.Read(reply)
	if err != nil {
		return err.Error()
	}

	return strings.TrimSuffix(string(reply[:n]), "\r\n")
}

func TestInstance_KeepsWhatItConfirmed(t *testing.T) {
	t.Parallel()
	in := brokers.StartRedis(t, brokers.RedisOptions{})
	addr := in.Addr()
	ends := map[string]func() error{
		"kill":    func() error { return errors.Join(in.Kill(), in.Start(t.Context())) },
		"stop":    func() error { return errors.Join(in.Stop(t.Context()), in.Start(t.Context())) },
		"restart": func() error { return in.Restart(t.Context()) },
		"kill while paused": func() error {
			return errors.Join(in.Pause(), in.Kill(), in.Start(t.Context()))
		},
		"stop while paused": func() error {
			return errors.Join(in.Pause(), in.Stop(t.Context()), in.Start(t.Context()))
		},
	}
	for name, end := range ends {
		if got := redisDo(addr, "SET", name, "v"); got != "+OK" {
			t.Fatalf("%s: SET: %s", name, got)
		}
		before := in.PID()
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if in.PID() == before || in.Addr() != addr {
			t.Errorf("%s: pid %d, address %s; want another process at %s", name, in.PID(), in.Addr(), addr)
		}
		if got := redisDo(addr, "GET", name); got != "$1\r\nv" {
			t.Errorf("%s: afterwards: %q", name, got)
		}
	}
}

func TestInstance_IsDownBetweenKillAndStart(t *testing.T) {
	t.Parallel()
	in := brokers.StartRedis(t, brokers.RedisOptions{})
	if err := in.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := redisDo(in.Addr(), "PING"); !strings.Contains(got, "refused") {
		t.Errorf("PING after the kill: %q, want a refused connection", got)
	}
	if in.PID() != 0 {
		t.Errorf("pid %d, want 0", in.PID())
	}
	if err := in.Pause(); err == nil {
		t.Error("a dead broker was paused")
	}
}

func TestInstance_PauseHoldsAnswersBack(t *testing.T) {
	t.Parallel()
	in := brokers.StartRedis(t, brokers.RedisOptions{})
	conn, err := net.Dial("tcp", in.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	if err := in.Pause(); err != nil {
		t.Fatal(err)
	}
	if got := redisAsk(conn, "PING"); !strings.Contains(got, os.ErrDeadlineExceeded.Error()) {
		t.Errorf("PING while paused: %q", got)
	}
	if err := in.Resume(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	reply := make([]byte, 7)
	if _, err := conn.Read(reply); err != nil || string(reply) != "+PONG\r\n" {
		t.Errorf("after the pause: %q, %v", reply, err)
	}
}

func TestRedis_StartFailsWithItsLog(t *testing.T) {
	needRedis(t)
	r := record(func(tb brokers.TB) {
		brokers.StartRedis(tb, brokers.RedisOptions{Config: []string{"no-such-directive 1"}})
	})
	for _, want := range []string{"ended by itself", "no-such-directive"} {
		if !strings.Contains(r.failed, want) {
			t.Errorf("failed with %q, want %q in it", r.failed, want)
		}
	}
}

func TestRedis_Options(t *testing.T) {
	t.Parallel()
	in := brokers.StartRedis(t, brokers.RedisOptions{
		Fsync: brokers.FsyncEverySecond, Config: []string{"maxmemory 16mb"},
	})
	for setting, want := range map[string]string{"maxmemory": "16777216", "appendfsync": "everysec", "save": ""} {
		if got := redisDo(in.Addr(), "CONFIG", "GET", setting); !strings.HasSuffix(got, "\r\n"+want) {
			t.Errorf("%s: %q, want %q", setting, got, want)
		}
	}
	if got := redisDo(in.Addr(), "DEBUG", "SLEEP", "0"); got != "+OK" {
		t.Errorf("DEBUG SLEEP: %q", got)
	}
}

func TestRedis_ACLUserHasLimits(t *testing.T) {
	t.Parallel()
	in := brokers.StartRedis(t, brokers.RedisOptions{})
	u, err := url.Parse(in.Value(brokers.EnvRedisACLURL))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := redisAsk(conn, "AUTH", u.User.Username(), password+"x"); !strings.HasPrefix(got, "-WRONGPASS") {
		t.Errorf("wrong password: %q", got)
	}
	if got := redisAsk(conn, "AUTH", u.User.Username(), password); got != "+OK" {
		t.Errorf("right password: %q", got)
	}
	if got := redisAsk(conn, "XADD", "s", "*", "a", "b"); !strings.HasPrefix(got, "$") {
		t.Errorf("XADD: %q", got)
	}
	if got := redisAsk(conn, "FLUSHALL"); !strings.HasPrefix(got, "-NOPERM") {
		t.Errorf("FLUSHALL: %q", got)
	}
}

func TestRedis_CertificateOfChoice(t *testing.T) {
	t.Parallel()
	in := brokers.StartRedis(t, brokers.RedisOptions{Certificate: certs.Expired})
	client, err := in.Certs().Client(certs.Client)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tls.Dial("tcp", in.TLSAddr(), client)
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("err = %v, want an expired certificate", err)
	}
}
