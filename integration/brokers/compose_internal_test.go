package brokers

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func composeText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

// What a test finds must not depend on how its broker was started.
func TestComposeFile_HasTheUsersOfTheNativeBrokers(t *testing.T) {
	t.Parallel()
	text := composeText(t)
	for _, want := range []string{
		`">` + RedisPassword + `"`,
		`user_` + KafkaUser + `="` + KafkaPassword + `";`,
		`SCRAM-SHA-256=[name=` + KafkaUser + `,password=` + KafkaPassword + `]`,
		`SCRAM-SHA-512=[name=` + KafkaUser + `,password=` + KafkaPassword + `]`,
		`image: apache/kafka:` + kafkaVersion,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the compose file", want)
		}
	}

	hashes := regexp.MustCompile(`"name": "(\w+)", "password_hash": "([^"]+)"`).FindAllStringSubmatch(text, -1)
	passwords := map[string]string{RabbitUser: RabbitPassword, RabbitLimitedUser: RabbitLimitedPassword}
	if len(hashes) != len(passwords) {
		t.Fatalf("%d users of RabbitMQ, want %d", len(hashes), len(passwords))
	}
	for _, found := range hashes {
		if !matches(t, found[2], passwords[found[1]]) {
			t.Errorf("the hash of RabbitMQ's user %s is of another password", found[1])
		}
	}
}

func matches(t *testing.T, hashed, password string) bool {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(hashed)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append(slices.Clone(raw[:4]), password...))

	return slices.Equal(raw[4:], sum[:])
}

func TestRabbitHash_IsSaltedAndOfThePassword(t *testing.T) {
	t.Parallel()
	a, b := rabbitHash("secret"), rabbitHash("secret")
	if a == b {
		t.Error("two hashes are equal: no salt")
	}
	if !matches(t, a, "secret") || matches(t, a, "other") {
		t.Error("the hash is not that of the password")
	}
}

func TestComposeFile_PublishesTheSamePortsOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	text := composeText(t)
	for _, kind := range Kinds() {
		for name, variable := range composePorts(kind) {
			want := "127.0.0.1:${" + variable + ":-" + strconv.Itoa(preferred(kind)[name]) + "}:"
			if !strings.Contains(text, "- "+want) {
				t.Errorf("%s is not published", want)
			}
		}
	}
	published := regexp.MustCompile(`(?m)^ +- (\S*:-\d+\}:\d+)$`).FindAllStringSubmatch(text, -1)
	if len(published) != 9 {
		t.Errorf("%d ports published, want 9", len(published))
	}
	for _, port := range published {
		if !strings.HasPrefix(port[1], "127.0.0.1:") {
			t.Errorf("%s is open to the network", port[1])
		}
	}
}

func TestKafkaPOM_HasTheVersion(t *testing.T) {
	t.Parallel()
	if !strings.Contains(string(kafkaPOM), "<version>"+kafkaVersion+"</version>") {
		t.Errorf("kafka-pom.xml is not for %s", kafkaVersion)
	}
}

// What runs in a container must be configured as what runs natively.
func TestComposeFile_KafkaHasTheNativeSettings(t *testing.T) {
	t.Parallel()
	text := composeText(t)
	for _, line := range kafkaSettings() {
		if !strings.Contains(text, "\n      "+line+"\n") {
			t.Errorf("%s is not in the compose file", line)
		}
	}
}
