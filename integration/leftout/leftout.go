// Package leftout says in one line which tests a run leaves out for want of a
// broker, and how to run them: a skip that nobody sees is a test that nobody has.
package leftout

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/leat-go/leat/integration/brokers"
)

// broker is one kind, the variable that says where one is, and the calls by
// which a test asks for it.
type broker struct {
	kind  brokers.Kind
	name  string
	calls []string
}

func all() []broker {
	return []broker{
		{brokers.KindRedis, brokers.EnvRedisURL, []string{"brokers.Redis(", "brokers.RedisTLS(", "brokers.RedisACL("}},
		{brokers.KindRabbit, brokers.EnvRabbitURL, []string{"brokers.RabbitMQ("}},
		{brokers.KindKafka, brokers.EnvKafkaBrokers, []string{"brokers.KafkaBrokers("}},
	}
}

// Asked returns the kinds of brokers that the tests of the module at root ask
// for. integration itself, where the brokers are made, does not count.
func Asked(root string) (map[brokers.Kind]bool, error) {
	asked := map[brokers.Kind]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") ||
				path == filepath.Join(root, "integration", "brokers") || path == filepath.Join(root, "integration", "leftout")) {
				return filepath.SkipDir
			}

			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // it has gone since: then nobody asks in it
		}
		for _, b := range all() {
			for _, call := range b.calls {
				if strings.Contains(string(text), call) {
					asked[b.kind] = true
				}
			}
		}

		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("leftout: %w", err)
	}

	return asked, nil
}

// Line is the line to say, empty when nothing is left out. It asks getenv for
// the addresses of those brokers that tests ask for.
func Line(asked map[brokers.Kind]bool, getenv func(string) string) string {
	var kinds, names []string
	for _, b := range all() {
		if asked[b.kind] && getenv(b.name) == "" {
			kinds, names = append(kinds, string(b.kind)), append(names, b.name)
		}
	}
	if len(kinds) == 0 {
		return ""
	}
	hint := "make test"
	if only := strings.Join(kinds, ","); only != string(brokers.KindRedis) {
		hint = "make test ONLY=" + only
	}

	return fmt.Sprintf("leat: left out: tests that need %s (%s not set); to run them: %s\n",
		strings.Join(kinds, ", "), strings.Join(names, ", "), hint)
}

// GoCommand opens the standard error of the process that started this one: the
// go command, which shows nothing that a passing test writes itself. It returns
// an error where there is no safe way to it; the caller closes what it gets.
func GoCommand() (io.WriteCloser, error) { return parentStderr() }
