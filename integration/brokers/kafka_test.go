package brokers_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/certs"
)

func TestKafka_SASLMechanisms(t *testing.T) {
	t.Parallel()
	addr := brokers.Shared(t, brokers.EnvKafkaSASLSSLBrokers)
	user := brokers.Shared(t, brokers.EnvKafkaSASLUser)
	password := brokers.Shared(t, brokers.EnvKafkaSASLPassword)
	trust, err := brokers.Certs(t).Client("")
	if err != nil {
		t.Fatal(err)
	}

	logins := map[string]func(k *kafkaConn, password string) error{
		"PLAIN": func(k *kafkaConn, password string) error {
			_, err := k.authenticate("\x00" + user + "\x00" + password)

			return err
		},
		"SCRAM-SHA-256": func(k *kafkaConn, password string) error { return k.scram(sha256.New, user, password) },
		"SCRAM-SHA-512": func(k *kafkaConn, password string) error { return k.scram(sha512.New, user, password) },
	}
	for mechanism, login := range logins {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			for given, works := range map[string]bool{password: true, "wrong": false} {
				k := dialKafka(t, addr, trust)
				if err := k.handshake(mechanism); err != nil {
					t.Fatal(err)
				}
				if err := login(k, given); (err == nil) != works {
					t.Errorf("password %q: %v; want it to work: %v", given, err, works)
				}
			}
		})
	}
	if err := dialKafka(t, addr, trust).handshake("GSSAPI"); err == nil {
		t.Error("GSSAPI was accepted")
	}
}

func TestKafka_MTLSWantsACertificateOfOurs(t *testing.T) {
	t.Parallel()
	addr := brokers.Shared(t, brokers.EnvKafkaMTLSBrokers)
	for name, accepted := range map[string]bool{certs.Client: true, "": false, certs.OtherCA: false, certs.Expired: false} {
		client, err := brokers.Certs(t).Client(name)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", addr, client)
		if err == nil {
			k := &kafkaConn{conn}
			_, err = k.request(18, 0, nil)
			conn.Close()
		}
		if (err == nil) != accepted {
			t.Errorf("certificate %q: %v; want it accepted: %v", name, err, accepted)
		}
	}
}

func TestStartKafka_PauseKillStart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an Apache Kafka twice")
	}
	t.Parallel()
	in := brokers.StartKafka(t, brokers.KafkaOptions{Certificate: certs.OtherHost})
	k := dialKafka(t, in.Addr(), nil)
	if err := in.Pause(); err != nil {
		t.Fatal(err)
	}
	_ = k.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := k.request(18, 0, nil); err == nil {
		t.Error("a paused broker answered")
	}
	if err := errors.Join(in.Resume(), in.Kill()); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", in.Addr()); err == nil {
		t.Error("a killed broker accepted a connection")
	}
	if err := in.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := dialKafka(t, in.Addr(), nil).request(18, 0, nil); err != nil {
		t.Error(err)
	}

	client, err := in.Certs().Client("")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tls.Dial("tcp", in.TLSAddr(), client)
	var host x509.HostnameError
	if !errors.As(err, &host) {
		t.Errorf("TLS: %v, want a certificate for another host", err)
	}
}

// kafkaConn speaks as much of Kafka's protocol as the tests need.
type kafkaConn struct{ net.Conn }

func dialKafka(t *testing.T, addr string, trust *tls.Config) *kafkaConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if trust != nil {
		cfg := trust.Clone()
		cfg.ServerName = "localhost"
		conn = tls.Client(conn, cfg)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))

	return &kafkaConn{conn}
}

// request returns the answer after its error code, which must be 0.
func (k *kafkaConn) request(key, version uint16, body []byte) ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, key)
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, 0, 0, 0, 9, 0, 1, 't') // correlation, client
	b = append(b, body...)
	if _, err := k.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(k, size[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(k, answer); err != nil {
		return nil, err
	}
	if code := binary.BigEndian.Uint16(answer[4:]); code != 0 {
		return nil, fmt.Errorf("code %d", code)
	}

	return answer[6:], nil
}

func (k *kafkaConn) handshake(mechanism string) error {
	_, err := k.request(17, 1, append(binary.BigEndian.AppendUint16(nil, uint16(len(mechanism))), mechanism...))

	return err
}

func (k *kafkaConn) authenticate(text string) (string, error) {
	answer, err := k.request(36, 0, append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	if err != nil {
		return "", err
	}
	answer = answer[2:] // a null error message

	return string(answer[4:]), nil
}

// scram is RFC 5802 without channel binding.
func (k *kafkaConn) scram(h func() hash.Hash, user, password string) error {
	first := "n=" + user + ",r=" + rand.Text()
	challenge, err := k.authenticate("n,," + first)
	if err != nil {
		return err
	}
	facts := map[string]string{}
	for part := range strings.SplitSeq(challenge, ",") {
		name, value, _ := strings.Cut(part, "=")
		facts[name] = value
	}
	salt, err := base64.StdEncoding.DecodeString(facts["s"])
	if err != nil {
		return err
	}
	rounds, err := strconv.Atoi(facts["i"])
	if err != nil {
		return err
	}
	salted, err := pbkdf2.Key(h, password, salt, rounds, h().Size())
	if err != nil {
		return err
	}

	sign := func(key []byte, text string) []byte {
		mac := hmac.New(h, key)
		mac.Write([]byte(text))

		return mac.Sum(nil)
	}
	client := sign(salted, "Client Key")
	stored := h()
	stored.Write(client)
	last := "c=biws,r=" + facts["r"]
	all := first + "," + challenge + "," + last
	proof := sign(stored.Sum(nil), all)
	for i := range proof {
		proof[i] ^= client[i]
	}
	answer, err := k.authenticate(last + ",p=" + base64.StdEncoding.EncodeToString(proof))
	if err != nil {
		return err
	}
	server, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(answer, "v="))
	if err != nil || !bytes.Equal(server, sign(sign(salted, "Server Key"), all)) {
		return fmt.Errorf("the server does not know the password: %q, %w", answer, err)
	}

	return nil
}
