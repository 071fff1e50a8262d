package brokers

import (
	"os"
	"strings"
)

// The environment variables through which tests find their brokers. [Up] and
// [RunCommand] set them; a value that is already there is used as it is and
// nothing is started for that broker.
const (
	EnvRedisURL    = "LEAT_TEST_REDIS_URL"     // redis://127.0.0.1:PORT/0
	EnvRedisTLSURL = "LEAT_TEST_REDIS_TLS_URL" // rediss://..., the client's certificate is asked for, not required
	EnvRedisACLURL = "LEAT_TEST_REDIS_ACL_URL" // redis://leat:PASSWORD@..., a user that may not run @dangerous commands

	EnvRabbitURL           = "LEAT_TEST_RABBITMQ_URL"            // amqp://leat:PASSWORD@127.0.0.1:PORT/, an administrator
	EnvRabbitTLSURL        = "LEAT_TEST_RABBITMQ_TLS_URL"        // amqps://...
	EnvRabbitLimitedURL    = "LEAT_TEST_RABBITMQ_LIMITED_URL"    // a user that has rights on names beginning with "limited." only
	EnvRabbitManagementURL = "LEAT_TEST_RABBITMQ_MANAGEMENT_URL" // http://leat:PASSWORD@..., the management API

	EnvKafkaBrokers        = "LEAT_TEST_KAFKA_BROKERS"          // 127.0.0.1:PORT, plaintext, no authentication
	EnvKafkaSSLBrokers     = "LEAT_TEST_KAFKA_SSL_BROKERS"      // TLS, no client certificate asked for
	EnvKafkaSASLSSLBrokers = "LEAT_TEST_KAFKA_SASL_SSL_BROKERS" // TLS with PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	EnvKafkaMTLSBrokers    = "LEAT_TEST_KAFKA_MTLS_BROKERS"     // TLS, a client certificate of our authority is required
	EnvKafkaSASLUser       = "LEAT_TEST_KAFKA_SASL_USER"        // the user of the SASL listener
	EnvKafkaSASLPassword   = "LEAT_TEST_KAFKA_SASL_PASSWORD"    // and its password, the same for all mechanisms

	EnvCertsDir = "LEAT_TEST_CERTS_DIR" // a folder for certs.Open
	EnvRequire  = "LEAT_TEST_REQUIRE"   // comma separated kinds whose absence fails tests instead of skipping them
)

// Prometheus is the word in [EnvRequire] for the program of that name, which is
// no broker: package integration/telemetry needs it.
const Prometheus = "prometheus"

// Var is one environment variable.
type Var struct{ Name, Value string }

// String returns NAME=value.
func (v Var) String() string { return v.Name + "=" + v.Value }

// Export returns the line that sets the variable in a POSIX shell.
func (v Var) Export() string {
	return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'"
}

// names lists the variables of one kind. The first is the one that decides
// whether an address was given.
func (k Kind) names() []string {
	switch k {
	case KindRedis:
		return []string{EnvRedisURL, EnvRedisTLSURL, EnvRedisACLURL}
	case KindRabbit:
		return []string{EnvRabbitURL, EnvRabbitTLSURL, EnvRabbitLimitedURL, EnvRabbitManagementURL}
	case KindKafka:
		return []string{
			EnvKafkaBrokers, EnvKafkaSSLBrokers, EnvKafkaSASLSSLBrokers, EnvKafkaMTLSBrokers,
			EnvKafkaSASLUser, EnvKafkaSASLPassword,
		}
	default:
		return nil
	}
}

// given returns the variables of a kind that the environment sets. The result
// is empty unless the plain address is among them.
func given(k Kind) []Var {
	names := k.names()
	if os.Getenv(names[0]) == "" {
		return nil
	}

	var vars []Var
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			vars = append(vars, Var{name, value})
		}
	}

	return vars
}

// lookup returns the value of the named variable, or "".
func lookup(vars []Var, name string) string {
	for _, v := range vars {
		if v.Name == name {
			return v.Value
		}
	}

	return ""
}
