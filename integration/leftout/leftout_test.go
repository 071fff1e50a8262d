package leftout_test

import (
	"io"
	"os"
	"testing"

	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/leftout"
)

// TestLeftOut says what this run leaves out. It is not answered from the test
// cache: it reads a file that has just been written.
func TestLeftOut(t *testing.T) {
	const asked = "asked.out" // ignored by git
	if err := os.WriteFile(asked, []byte("now\n"), 0o600); err == nil {
		_, _ = os.ReadFile(asked) // the look is what counts
	}
	line := leftout.Line(os.Getenv)
	if line == "" {
		return
	}
	t.Log(line)
	w, err := leftout.GoCommand()
	if err != nil {
		t.Log(err)

		return
	}
	if _, err := io.WriteString(w, line); err != nil {
		t.Log(err)
	}
	if err := w.Close(); err != nil {
		t.Log(err)
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env  map[string]string
		want string
	}{
		"everything there": {
			map[string]string{brokers.EnvRedisURL: "r", brokers.EnvRabbitURL: "a", brokers.EnvKafkaBrokers: "k"}, "",
		},
		"no Redis": {
			map[string]string{brokers.EnvRabbitURL: "a", brokers.EnvKafkaBrokers: "k"},
			"leat: left out: tests that need redis (LEAT_TEST_REDIS_URL not set); to run them: make test\n",
		},
		"Redis only": {
			map[string]string{brokers.EnvRedisURL: "r"},
			"leat: left out: tests that need rabbit, kafka (LEAT_TEST_RABBITMQ_URL, LEAT_TEST_KAFKA_BROKERS not set); to run them: make test ONLY=rabbit,kafka\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := leftout.Line(func(key string) string { return tc.env[key] }); got != tc.want {
				t.Errorf("got  %swant %s", got, tc.want)
			}
		})
	}
}
