package kafkabus_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/certs"
)

func TestOpenClient_EveryWayIn(t *testing.T) {
	t.Parallel()
	set := brokers.Certs(t)
	user, password := brokers.Shared(t, brokers.EnvKafkaSASLUser), brokers.Shared(t, brokers.EnvKafkaSASLPassword)
	sasl := kafkabus.ClientConfig{
		BootstrapServers: brokers.Shared(t, brokers.EnvKafkaSASLSSLBrokers), CAFile: set.CAFile(),
		SecurityProtocol: kafkabus.SASLSSL, SASLUsername: user, SASLPassword: password,
	}
	ways := map[string]kafkabus.ClientConfig{
		"plaintext": {BootstrapServers: brokers.KafkaBrokers(t)},
		"TLS":       {BootstrapServers: brokers.Shared(t, brokers.EnvKafkaSSLBrokers), CAFile: set.CAFile()},
		"TLS, any host name": {
			BootstrapServers: brokers.Shared(t, brokers.EnvKafkaSSLBrokers), CAFile: set.CAFile(), SkipHostnameCheck: true,
		},
		"mTLS": {
			BootstrapServers: brokers.Shared(t, brokers.EnvKafkaMTLSBrokers), CAFile: set.CAFile(),
			CertFile: set.CertFile(certs.Client), KeyFile: set.KeyFile(certs.Client),
		},
		"default mechanism": sasl,
	}
	for _, mechanism := range []kafkabus.SASLMechanism{kafkabus.PLAIN, kafkabus.SCRAMSHA256, kafkabus.SCRAMSHA512} {
		one := sasl
		one.SASLMechanism = mechanism
		ways[string(mechanism)] = one
	}
	for name, cfg := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, cfg)
			if err := client.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenClient_TellsWhyItWasNotLetIn(t *testing.T) {
	t.Parallel()
	set := brokers.Certs(t)
	ssl := brokers.Shared(t, brokers.EnvKafkaSSLBrokers)
	user := brokers.Shared(t, brokers.EnvKafkaSASLUser)
	const secret = "canary-S3CRET"
	var (
		unknown  x509.UnknownAuthorityError
		firstEOF *kgo.ErrFirstReadEOF
	)
	for name, c := range map[string]struct {
		cfg  kafkabus.ClientConfig
		hint string
		is   func(error) bool
	}{
		"wrong password": {
			kafkabus.ClientConfig{
				BootstrapServers: brokers.Shared(t, brokers.EnvKafkaSASLSSLBrokers), CAFile: set.CAFile(),
				SecurityProtocol: kafkabus.SASLSSL, SASLUsername: user, SASLPassword: secret,
			}, "password is wrong", func(err error) bool { return errors.Is(err, kerr.SaslAuthenticationFailed) },
		},
		"wrong CA": {
			kafkabus.ClientConfig{BootstrapServers: ssl, SecurityProtocol: kafkabus.SSL},
			"not signed by the CA", func(err error) bool { return errors.As(err, &unknown) },
		},
		"plaintext port": {
			kafkabus.ClientConfig{BootstrapServers: brokers.KafkaBrokers(t), CAFile: set.CAFile(), ConnectTimeout: 3 * time.Second},
			"one side speaks TLS", func(err error) bool { return errors.As(err, &firstEOF) },
		},
		"TLS port": {
			kafkabus.ClientConfig{BootstrapServers: ssl, ConnectTimeout: 3 * time.Second},
			"speaks TLS", func(err error) bool { return err != nil },
		},
		"log-in where none is wanted": {
			kafkabus.ClientConfig{
				BootstrapServers: ssl, CAFile: set.CAFile(), ConnectTimeout: 3 * time.Second,
				SecurityProtocol: kafkabus.SASLSSL, SASLUsername: user, SASLPassword: secret,
			}, "wants no log-in", func(err error) bool { return errors.Is(err, kerr.IllegalSaslState) },
		},
		"nobody there": {
			kafkabus.ClientConfig{BootstrapServers: "127.0.0.1:1", ConnectTimeout: 3 * time.Second},
			"connection refused", func(err error) bool { return err != nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := kafkabus.OpenClient(t.Context(), c.cfg)
			if err == nil {
				client.Close()
				t.Fatal("it was let in")
			}
			var connect *kafkabus.ConnectError
			if !errors.As(err, &connect) || !c.is(err) || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("error is %v (%T), want a ConnectError with the cause, saying %q", err, err, c.hint)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error has the password: %v", err)
			}
			t.Log(err)
		})
	}
}

func TestOpenClient_WrongHostAndExpiredCertificate(t *testing.T) {
	t.Parallel()
	for certificate, hint := range map[string]string{certs.OtherHost: "for another host", certs.Expired: "is expired"} {
		t.Run(certificate, func(t *testing.T) {
			t.Parallel()
			kafka := brokers.StartKafka(t, brokers.KafkaOptions{Certificate: certificate})
			cfg := kafkabus.ClientConfig{BootstrapServers: kafka.TLSAddr(), CAFile: kafka.Certs().CAFile()}
			client, err := kafkabus.OpenClient(t.Context(), cfg)
			if err == nil {
				client.Close()
				t.Fatal("it was let in")
			}
			if !strings.Contains(err.Error(), hint) {
				t.Errorf("error is %v, want it to say %q", err, hint)
			}
			cfg.SkipHostnameCheck = true
			client, err = kafkabus.OpenClient(t.Context(), cfg)
			if err == nil {
				client.Close()
			}
			if (err == nil) != (certificate == certs.OtherHost) {
				t.Errorf("without the check of the host name: %v", err)
			}
		})
	}
}

func TestConfig_ShowsNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "canary-S3CRET"
	const misplaced = "user:" + secret + "@127.0.0.1:9092,kafka://user:" + secret + "@127.0.0.1:9092"
	cfg := kafkabus.Config{BootstrapServers: misplaced, SecurityProtocol: kafkabus.SASLSSL, SASLUsername: "user-" + secret, SASLPassword: secret, MaxInFlight: -1}
	client := kafkabus.ClientConfig{BootstrapServers: misplaced, SecurityProtocol: kafkabus.SASLSSL, SASLUsername: "user-" + secret, SASLPassword: secret}
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		texts = append(texts, fmt.Sprintf(verb, cfg), fmt.Sprintf(verb, &cfg), fmt.Sprintf(verb, client), fmt.Sprintf(verb, []any{client}))
	}
	encoded, err := json.Marshal([]any{cfg, client})
	if err != nil {
		t.Fatal(err)
	}
	texts = append(texts, string(encoded), cfg.LogValue().String(), client.LogValue().String(), cfg.Validate().Error())
	for _, text := range texts {
		if strings.Contains(text, secret) {
			t.Errorf("the password shows in %q", text)
		}
	}
}

func TestConfig_ValidateReportsEveryProblem(t *testing.T) {
	t.Parallel()
	err := kafkabus.Config{
		BootstrapServers: "nowhere", SecurityProtocol: "NONE", SASLMechanism: "MAGIC", CertFile: "c", Acks: 7, Compression: -1,
		Linger: -1, TopicPrefix: "a b", StaticMembership: true, MaxDeliveries: 2, MaxInFlight: 1, Concurrency: 2,
		SessionTimeout: time.Second, HeartbeatInterval: time.Minute, RevokeTimeout: time.Hour, Topics: kafkabus.TopicConfig{Partitions: -1},
	}.Validate()
	if err == nil {
		t.Fatal("no problem was found")
	}
	for _, field := range []string{
		"BootstrapServers", "SecurityProtocol", "SASLMechanism", "CertFile", "Acks", "Compression", "Linger", "TopicPrefix", "ConsumerName",
		"MaxDeliveries", "MaxInFlight", "HeartbeatInterval", "RevokeTimeout", "Topics.Partitions", "Registry",
	} {
		if !strings.Contains(err.Error(), "kafkabus: Config."+field+":") {
			t.Errorf("no word of %s in:\n%v", field, err)
		}
	}
}
