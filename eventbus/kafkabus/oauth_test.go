package kafkabus_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
)

// unsigned returns a token as a broker without an identity provider takes it.
func unsigned(expires time.Time) string {
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return encode(`{"alg":"none"}`) + "." +
		encode(fmt.Sprintf(`{"sub":"leat","iat":%d,"exp":%d}`, time.Now().Unix()-10, expires.Unix())) + "."
}

func TestOpenClient_OAuthBearer(t *testing.T) {
	t.Parallel()
	const module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
	kafka := brokers.StartKafka(t, brokers.KafkaOptions{Config: []string{
		"listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=" + module + ` required unsecuredLoginStringClaim_sub="broker";`,
	}})
	open := func(token string) error {
		client, err := kafkabus.OpenClient(t.Context(), kafkabus.ClientConfig{
			BootstrapServers: kafka.Value(brokers.EnvKafkaSASLSSLBrokers), SecurityProtocol: kafkabus.SASLSSL, CAFile: kafka.Certs().CAFile(),
			SASL: oauth.Oauth(func(context.Context) (oauth.Auth, error) { return oauth.Auth{Token: token}, nil }),
		})
		if err == nil {
			client.Close()
		}
		return err
	}
	if err := open(unsigned(time.Now().Add(time.Hour))); err != nil {
		t.Errorf("with a token: %v", err)
	}
	stale := unsigned(time.Now().Add(-time.Hour))
	err := open(stale)
	var connect *kafkabus.ConnectError
	if !errors.As(err, &connect) || strings.Contains(err.Error(), stale) {
		t.Errorf("with an expired token: %v, want a ConnectError without the token", err)
	}
}
