package leftout_test

import (
	"io"
	"os"
	"path/filepath"
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
	kinds, err := leftout.Asked("../..")
	if err != nil {
		t.Fatal(err)
	}
	line := leftout.Line(kinds, os.Getenv)
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
		asked []brokers.Kind
		env   map[string]string
		want  string
	}{
		"everything there": {
			brokers.Kinds(), map[string]string{brokers.EnvRedisURL: "r", brokers.EnvRabbitURL: "a", brokers.EnvKafkaBrokers: "k"}, "",
		},
		"no Redis": {
			brokers.Kinds(),
			map[string]string{brokers.EnvRabbitURL: "a", brokers.EnvKafkaBrokers: "k"},
			"leat: left out: tests that need redis (LEAT_TEST_REDIS_URL not set); to run them: make test\n",
		},
		"Redis only": {
			brokers.Kinds(),
			map[string]string{brokers.EnvRedisURL: "r"},
			"leat: left out: tests that need rabbit, kafka (LEAT_TEST_RABBITMQ_URL, LEAT_TEST_KAFKA_BROKERS not set); to run them: make test ONLY=rabbit,kafka\n",
		},
		"nobody asks": {[]brokers.Kind{brokers.KindRedis}, map[string]string{brokers.EnvRedisURL: "r"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := map[brokers.Kind]bool{}
			for _, k := range tc.asked {
				asked[k] = true
			}
			if got := leftout.Line(asked, func(key string) string { return tc.env[key] }); got != tc.want {
				t.Errorf("got  %swant %s", got, tc.want)
			}
		})
	}
}

func TestAsked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"a_test.go":                     "url := brokers.RabbitMQ(t)",
		"integration/brokers/x_test.go": "brokers.Redis(t)",
		".git/x.go":                     "brokers.Redis(t)",
		"notes.md":                      "brokers.KafkaBrokers(t)",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asked, err := leftout.Asked(root)
	if err != nil || len(asked) != 1 || !asked[brokers.KindRabbit] {
		t.Errorf("got %v, %v, want rabbit alone", asked, err)
	}
}
